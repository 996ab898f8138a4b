"""The parts ("voices") of the bundled model's answer, and how `fewshotsam benchmark` omits one to measure its worth."""

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
    "weight": "the networks' weight depends on how they and the decoder differ; without it, one half",
    "threshold": "the threshold depends on the networks' likeness to the decoder; without it, 0.5",
}
VOICES = OF_FIRST_ANSWER | OF_LEARNED_ANSWER
_omitted: ContextVar[str] = ContextVar("omitted", default="")


@contextmanager
def omitting(voice: str) -> Iterator[None]:
    """Answer without one of VOICES within this block. Raises KeyError if there is no such voice."""
    token = _omitted.set(_known(voice))
    try:
        yield
    finally:
        _omitted.reset(token)


def is_heard(voice: str) -> bool:
    """Whether a voice contributes: always, except within `omitting`. Raises KeyError if there is no such voice."""
    return _omitted.get() != _known(voice)


def _known(voice: str) -> str:
    if voice not in VOICES:
        raise KeyError(voice)
    return voice
