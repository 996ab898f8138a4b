"""The components of the bundled model's answer, and how `fewshotsam benchmark` omits one to measure its worth."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OF_FIRST_ANSWER = {
    "second-pass": "what the first pass found on the neighbouring slices",
    "transport": "outlines carried along with the image",
    "geodesic": "geodesic distances through the image from painted pixels",
    "ends": "ends predicted from how fast painted slices get smaller",
}
OF_LEARNED_ANSWER = {
    "doubt": "the networks count only where the decoder is unsure; without it, everywhere",
    "weight": "the networks' weight depends on how they and the decoder differ and how sure that is; without it, 0.5",
    "threshold": "the threshold depends on the networks' likeness to the decoder; without it, 0.5",
}
COMPONENTS = OF_FIRST_ANSWER | OF_LEARNED_ANSWER
_omitted: ContextVar[str] = ContextVar("omitted", default="")


@contextmanager
def omitting(component: str) -> Iterator[None]:
    """Answer without one of COMPONENTS within this block. Raises KeyError if there is no such component."""
    token = _omitted.set(_known(component))
    try:
        yield
    finally:
        _omitted.reset(token)


def is_enabled(component: str) -> bool:
    """Whether a component contributes: always, except within `omitting`. Raises KeyError if it does not exist."""
    return _omitted.get() != _known(component)


def _known(component: str) -> str:
    if component not in COMPONENTS:
        raise KeyError(component)
    return component
