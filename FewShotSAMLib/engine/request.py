"""The parameters of a job, checked before anything is read or written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import check_name
from FewShotSAMLib.core.postprocess import PostProcessing
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, get_method

MAX_STEPS = 100_000
MAX_COPIES = 1000


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how to compute; the same for every job."""

    encoder: str = "auto"
    checkpoint: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    cache: Path | None = None
    no_cache: bool = False
    cache_limit_gb: float | None = None


@dataclass(frozen=True)
class PropagateRequest:
    """A volume and a few painted slices to learn from. Slice numbers are 0-based array indices along `axis`.

    classes: a `.npy` for the result as one array (K, J, I) uint8, 0 background, 1 to C the segments in their order.
    """

    volume: Path
    annotation: Path
    output: Path
    axis: int | None = None
    empty_slices: tuple[int, ...] = ()
    painted_slices: tuple[int, ...] | None = None
    range: tuple[int, int] | None = None
    method: str = DEFAULT_METHOD
    code_faithful: bool = False
    fresh_augmentation: bool = False
    normalisation: str | None = None
    steps: int | None = None
    augmented_copies: int | None = None
    seed: int = 0
    warm_start: Path | None = None
    save_model: Path | None = None
    confidence: Path | None = None
    contact_sheet: Path | None = None
    classes: Path | None = None
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    post_processing: PostProcessing = field(default_factory=PostProcessing)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The request that the JSON parameters describe; raises BadInputError for what cannot be."""
        request = _build(cls, parameters)
        _check_method(request)
        if request.steps is not None and not 0 <= request.steps <= MAX_STEPS:
            raise BadInputError(f"{request.steps} training steps are out of bounds.", f"Give 0 to {MAX_STEPS}.")
        if request.augmented_copies is not None and not 0 <= request.augmented_copies <= MAX_COPIES:
            raise BadInputError(
                f"{request.augmented_copies} augmented copies are out of bounds.", f"Give 0 to {MAX_COPIES}."
            )
        if not 0 <= request.seed < 2**63:
            raise BadInputError(f"The seed {request.seed} is out of bounds.", "Give a number from 0 up.")
        return request


@dataclass(frozen=True)
class ApplyRequest:
    """A few-shot model and another volume."""

    model: Path
    volume: Path
    output: Path
    range: tuple[int, int] | None = None
    confidence: Path | None = None
    classes: Path | None = None
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    post_processing: PostProcessing = field(default_factory=PostProcessing)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The request that the JSON parameters describe; raises BadInputError for what cannot be."""
        return _build(cls, parameters)


def _check_method(request: PropagateRequest) -> None:
    """Raise BadInputError for an unknown method and for options that it does not know."""
    method = get_method(request.method)
    if request.code_faithful and not method.has_published_code:
        raise BadInputError(
            f"The method “{method.name}” has no published code to be faithful to.",
            "Leave code_faithful away, or choose one of the AutoSAM heads.",
        )
    if method.solved and (request.steps or request.fresh_augmentation):
        raise BadInputError(
            f"The method “{method.name}” is solved at once: it has no training steps.",
            "Leave steps and fresh_augmentation away, or choose another method.",
        )
    if request.contact_sheet is not None and not method.synthesises:
        raise BadInputError(
            f"The method “{method.name}” synthesises nothing that a contact sheet could show.",
            "Leave contact_sheet away, or choose the method synthesis or cheap-lunch.",
        )
    if request.contact_sheet is not None and request.contact_sheet.suffix.lower() != ".png":
        raise BadInputError(f"The contact sheet {request.contact_sheet} is no .png file.", "Let its name end in .png.")


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise TypeError("a path")
    check_name(Path(value))
    return Path(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number")
    return value


def _integers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list of whole numbers")
    return tuple(_integer(item) for item in value)


def _pair(value: Any) -> tuple[int, int]:
    numbers = _integers(value)
    if len(numbers) != 2:
        raise TypeError("two whole numbers, first and last")
    return numbers[0], numbers[1]


def _axis(value: Any) -> int | None:
    if value in ("auto", None):
        return None
    if str(value) not in ("0", "1", "2"):
        raise TypeError("auto, 0, 1 or 2")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


_CONVERTERS = {
    **dict.fromkeys(
        ("volume", "annotation", "output", "model", "warm_start", "save_model", "confidence", "checkpoint", "cache"),
        _path,
    ),
    **dict.fromkeys(("contact_sheet", "classes"), _path),
    **dict.fromkeys(("method", "normalisation", "encoder", "device", "precision"), _text),
    **dict.fromkeys(("steps", "seed", "augmented_copies"), _integer),
    **dict.fromkeys(("empty_slices", "painted_slices"), _integers),
    **dict.fromkeys(("no_cache", "largest_island", "fill_holes", "code_faithful", "fresh_augmentation"), _flag),
    **dict.fromkeys(("smooth_mm", "cache_limit_gb"), _number),
    "axis": _axis,
    "range": _pair,
}


def _build(cls: type[Any], parameters: Mapping[str, Any]) -> Any:
    """An instance of a request class; parameters that are null take their default."""
    given = {name: _convert(name, value) for name, value in parameters.items() if value is not None}
    own = {entry.name for entry in fields(cls)}
    groups = {"compute": ComputeOptions, "post_processing": PostProcessing}
    values: dict[str, Any] = {}
    for group, group_class in groups.items():
        names = {entry.name for entry in fields(group_class)}
        values[group] = group_class(**{name: given.pop(name) for name in list(given) if name in names})
    if unknown := given.keys() - own:
        known = sorted(own - groups.keys() | {entry.name for group in groups.values() for entry in fields(group)})
        raise BadInputError(f"Unknown parameter: {', '.join(sorted(unknown))}.", f"Known: {', '.join(known)}.")
    required = [entry.name for entry in fields(cls) if entry.name in ("volume", "annotation", "output", "model")]
    if missing := [name for name in required if name not in given]:
        raise BadInputError(f"Missing parameter: {', '.join(missing)}.", "Give all of them.")
    return cls(**given, **values)


def _convert(name: str, value: Any) -> Any:
    if name not in _CONVERTERS:
        raise BadInputError(f"Unknown parameter: {name}.", f"Known: {', '.join(sorted(_CONVERTERS))}.")
    try:
        return _CONVERTERS[name](value)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{name} is {value!r}.", f"It must be {error}.") from error
