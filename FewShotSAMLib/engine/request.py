"""The parameters of a job, checked before anything is read or written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import check_name
from FewShotSAMLib.core.postprocess import PostProcessing
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, get_method
from FewShotSAMLib.options import APPLY, AUTO, PROPAGATE, Option, options_of

_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how to compute; common to all jobs."""

    encoder: str = AUTO
    checkpoint: Path | None = None
    device: str = AUTO
    precision: str = AUTO
    cache: Path | None = None
    no_cache: bool = False
    cache_limit_gb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to segment a volume, by either job. range: first and last slice to predict; None for all."""

    command: ClassVar[str]
    range: tuple[int, int] | None = None
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    post_processing: PostProcessing = field(default_factory=PostProcessing)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The request that the JSON parameters describe; null means the default. Raises BadInputError if a parameter is
        unknown, missing or invalid."""
        groups = {"compute": ComputeOptions, "post_processing": PostProcessing}
        own = {entry.name for group in (cls, *groups.values()) for entry in fields(group)}
        known = {option.name: option for option in options_of(cls.command) if option.name in own}
        given = {name: value for name, value in parameters.items() if value is not None}
        if unknown := given.keys() - known.keys():
            listed = ", ".join(sorted(known))
            raise BadInputError(f"Unknown parameter: {', '.join(sorted(unknown))}.", f"Known: {listed}.")
        required = {name: option.unless for name, option in known.items() if option.is_required}
        lacking = {name: unless for name, unless in required.items() if not {name, unless} & given.keys()}
        if missing := [f"{name} (or {unless})" if unless else name for name, unless in lacking.items()]:
            raise BadInputError(f"Missing parameter: {', '.join(missing)}.", "Give all of them.")
        values = {name: _checked(known[name], value) for name, value in given.items()}
        for group, group_class in groups.items():
            names = [entry.name for entry in fields(group_class) if entry.name in values]
            values[group] = group_class(**{name: values.pop(name) for name in names})
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class PropagateOptions(Options):
    """How to learn from painted slices. Slice numbers are 0-based array indices along `axis`."""

    command = PROPAGATE
    axis: int | None = None
    empty_slices: tuple[int, ...] = ()
    empty_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    painted_slices: tuple[int, ...] | None = None
    method: str = DEFAULT_METHOD
    code_faithful: bool = False
    fresh_augmentation: bool = False
    normalisation: str | None = None
    steps: int | None = None
    augmented_copies: int | None = None
    seed: int = 0
    contact_sheet: Path | None = None
    leave_out_image: bool = False
    correct: bool = False

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """As in the base class; also raises BadInputError if the method does not support an option that was set."""
        request = super().from_parameters(parameters)
        _check_method(request)
        return request


@dataclass(frozen=True, kw_only=True)
class ApplyOptions(Options):
    """How to apply a few-shot model to another volume."""

    command = APPLY


@dataclass(frozen=True, kw_only=True)
class Files:
    """A volume's file and the files that a job writes.

    output: the result as a segmentation; None if only `classes` is wanted: the result as a `.npy` array (K, J, I)
    uint8, 0 background, 1 to C the segments in order. strip: a picture of some slices (.jpg). record: the report
    (.json), including `made_of`.
    """

    volume: Path
    output: Path | None = None
    confidence: Path | None = None
    classes: Path | None = None
    strip: Path | None = None
    record: Path | None = None
    made_of: str = ""
    report: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PropagateRequest(PropagateOptions, Files):
    """`PropagateOptions`, with the files to read and write.

    models: few-shot models of earlier volumes, used in addition to the painted slices. model_as_is: save the model
    without learning what only other volumes need.
    """

    annotation: Path
    warm_start: Path | None = None
    models: tuple[Path, ...] = ()
    save_model: Path | None = None
    model_as_is: bool = False


@dataclass(frozen=True, kw_only=True)
class ApplyRequest(ApplyOptions, Files):
    """`ApplyOptions`, with the files to read and write."""

    model: Path


def _check_method(request: PropagateOptions) -> None:
    """Raise BadInputError for an unknown method and for options that it does not support."""
    entry = get_method(request.method)
    if not (request.code_faithful or request.steps or request.fresh_augmentation or request.contact_sheet):
        return  # a method's module needs torch, so it is loaded only if one of these options is set
    method = entry.load()
    if request.code_faithful and not method.has_published_code:
        raise BadInputError(
            f"The method “{method.name}” has no published code to be faithful to.",
            "Omit code_faithful, or choose one of the AutoSAM heads.",
        )
    if method.solved and (request.steps or request.fresh_augmentation):
        raise BadInputError(
            f"The method “{method.name}” is solved at once: it has no training steps.",
            "Omit steps and fresh_augmentation, or choose another method.",
        )
    if request.contact_sheet is not None and not method.synthesises:
        raise BadInputError(
            f"The method “{method.name}” synthesises nothing that a contact sheet could show.",
            "Omit contact_sheet, or choose the method synthesis or cheap-lunch.",
        )


def _checked(option: Option, value: Any) -> Any:
    try:
        checked = option.check(value)
    except ValueError as error:
        shown = repr(value) if len(repr(value)) <= _LONGEST_SHOWN else f"{repr(value)[:_LONGEST_SHOWN]}..."
        raise BadInputError(f"{option.name} is {shown}.", f"It must be {error}.") from error
    for path in checked if isinstance(checked, tuple) else (checked,):
        if isinstance(path, Path):
            check_name(path)
    return checked
