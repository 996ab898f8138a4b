"""Every option of `propagate` and `apply` in one table: names, values, defaults, help, and who shows it.

The command line, the checks of a request, the panel, the browser app and docs/options.md read it. It needs nothing but
the standard library, so that Slicer's own process can read it, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, METHOD_NAMES

AUTO = "auto"
AUTOMATIC_ENCODER = "tiny"
"""The encoder that `auto` stands for, with or without a graphics card: no other has been measured to be better
(docs/benchmark.md). The rule for `auto` as device and as precision stands in sam/precision.py, which knows the device.
"""
PROPAGATE, APPLY = "propagate", "apply"
BOTH = (PROPAGATE, APPLY)
CLI, PANEL, BROWSER = "cli", "panel", "browser"
EVERYWHERE = (CLI, PANEL, BROWSER)
PRECISIONS = (AUTO, "fp32", "bf16", "fp16", "int8")

STAGES = {
    "prepare": "Preparing the volume",
    "read": "Reading the volume",
    "load": "Loading the encoder",
    "encode": "Encoding slices",
    "augment": "Encoding augmented copies",
    "synthesise": "Encoding synthesised pairs",
    "priors": "Interpolating between the painted slices",
    "fine-tune": "Learning from the painted slices",
    "predict": "Predicting slices",
    "write": "Writing the result",
    "inspect": "Looking at this computer",
    "download": "Downloading",
    "benchmark": "Measuring",
}
"""What a progress event's stage is called before users."""


@dataclass(frozen=True)
class Kind:
    """What values an option has. check: returns the value as jobs use it; raises TypeError for any other."""

    words: str
    check: Callable[[Any], Any]


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise TypeError("a path")
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
    try:
        return tuple(_integer(item) for item in value)
    except TypeError as error:
        raise TypeError("a list of whole numbers") from error


def _pair(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError("two whole numbers, first and last")
    return _integer(value[0]), _integer(value[1])


def _axis(value: Any) -> int | None:
    if value == AUTO:
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


PATH, TEXT, FLAG = Kind("a path", _path), Kind("a text", _text), Kind("true or false", _flag)
INTEGER, NUMBER = Kind("a whole number", _integer), Kind("a number", _number)
SLICES = Kind("a list of slice numbers such as 3,40 or 10-12", _integers)
RANGE, AXIS = Kind("a range of slices such as 10,80", _pair), Kind("an axis", _axis)


@dataclass(frozen=True)
class Option:
    """One option.

    name: in a request; on the command line with dashes, unless it is positional. default: what stands for an option
    that is not given (None: what the help says). choices: all values, where they can be listed; pattern: a regular
    expression of others. least, most: bounds of a number, both included. group: a heading of the command line's help.
    instead_of: an option that cannot be given beside this one.
    """

    name: str
    kind: Kind
    help: str
    commands: tuple[str, ...] = BOTH
    shown: tuple[str, ...] = (CLI,)
    default: Any = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    least: float | None = None
    most: float | None = None
    metavar: str = ""
    group: str = ""
    aliases: tuple[str, ...] = ()
    instead_of: str = ""
    is_required: bool = False
    is_positional: bool = False

    @property
    def flag(self) -> str:
        """How the command line calls it."""
        return "--" + self.name.replace("_", "-")

    @property
    def words(self) -> str:
        """What its values are, as the end of a sentence."""
        if self.choices:
            others = [self.metavar.rpartition("|")[2]] if self.pattern else []
            return f"one of {', '.join([*self.choices, *others])}"
        if self.least is None:
            return self.kind.words
        upper = "up" if self.most is None else f"to {self.most:g}"
        return f"{self.kind.words} from {self.least:g} {upper}"

    def check(self, value: Any) -> Any:
        """The value as jobs use it. Raises ValueError with the words for what is allowed."""
        try:
            checked = self.kind.check(value)
        except TypeError as error:
            raise ValueError(self.words if self.choices or self.least is not None else str(error)) from error
        is_listed = not self.choices or value in self.choices or bool(re.fullmatch(self.pattern or "(?!)", str(value)))
        if self.kind is not AXIS and not is_listed:
            raise ValueError(self.words)
        if self.least is not None and not self.least <= checked <= (float("inf") if self.most is None else self.most):
            raise ValueError(self.words)
        if checked == float("inf"):
            raise ValueError(self.words)
        return checked


SLICES_GROUP, METHOD_GROUP = "slices (array indices, beginning with 0)", "method"
COMPUTING, RESULT = "computing", "result (all off by default)"

OPTIONS = (
    Option(
        "model", PATH, "file that “fewshotsam propagate --save-model” wrote", (APPLY,), EVERYWHERE,
        metavar="M.fewshot", is_required=True, is_positional=True,
    ),
    Option(
        "volume", PATH, "NRRD, NIfTI, MHA or a DICOM folder", shown=EVERYWHERE,
        metavar="VOLUME", is_required=True, is_positional=True,
    ),
    Option(
        "annotation", PATH,
        "label map or .seg.nrrd in the volume's geometry; a slice with any label counts as painted completely",
        (PROPAGATE,), EVERYWHERE, metavar="ANNOTATION", is_required=True, is_positional=True,
    ),
    Option(
        "output", PATH, "segmentation (.seg.nrrd, DICOM: .dcm) or label map (.nrrd, .nii.gz, .nii, .mha)",
        metavar="OUT", aliases=("-o",), is_required=True,
    ),
    Option(
        "axis", AXIS, "array axis of the painted slices: 0 = k, 1 = j, 2 = i", (PROPAGATE,), EVERYWHERE,
        default=AUTO, choices=(AUTO, "0", "1", "2"), metavar="auto|0|1|2", group=SLICES_GROUP,
    ),
    Option(
        "empty_slices", SLICES, "slices that hold none of the segments", (PROPAGATE,), EVERYWHERE,
        metavar="3,40", group=SLICES_GROUP,
    ),
    Option(
        "painted_slices", SLICES, "learn from these only and ignore labels elsewhere", (PROPAGATE,), EVERYWHERE,
        metavar="10,20-25", group=SLICES_GROUP,
    ),
    Option(
        "range", RANGE, "predict these slices only, both included (default: all)", shown=EVERYWHERE,
        metavar="FIRST,LAST", group=SLICES_GROUP,
    ),
    Option(
        "method", TEXT, "see the list below", (PROPAGATE,), EVERYWHERE,
        default=DEFAULT_METHOD, choices=METHOD_NAMES, metavar="NAME", group=METHOD_GROUP,
    ),
    Option(
        "code_faithful", FLAG, "AutoSAM's heads exactly as published, slips included", (PROPAGATE,),
        default=False, group=METHOD_GROUP,
    ),
    Option(
        "encoder", TEXT, f"see “fewshotsam models list”; auto: {AUTOMATIC_ENCODER}, or the one of a few-shot model",
        shown=EVERYWHERE, default=AUTO, metavar="NAME", group=METHOD_GROUP,
    ),
    Option(
        "normalisation", TEXT,
        "auto, a CT window such as abdomen or lung, percentile:LOW,HIGH or window:LOW,HIGH (default: auto)",
        (PROPAGATE,), metavar="KIND", group=METHOD_GROUP, aliases=("--normalization",),
    ),
    Option(
        "steps", INTEGER, "training steps (default: the method's own, fewer after a warm start)", (PROPAGATE,),
        least=0, most=100_000, metavar="N", group=METHOD_GROUP,
    ),
    Option(
        "augmented_copies", INTEGER, "augmented copies to learn from per painted or empty slice", (PROPAGATE,),
        least=0, most=1000, metavar="N", group=METHOD_GROUP,
    ),
    Option(
        "contact_sheet", PATH, "picture of synthesised pairs (cheap-lunch, synthesis)", (PROPAGATE,),
        metavar="FILE.png", group=METHOD_GROUP,
    ),
    Option(
        "fresh_augmentation", FLAG,
        "augment and encode again at each step, as AutoSAM does, instead of keeping copies; slow without a GPU",
        (PROPAGATE,), default=False, group=METHOD_GROUP,
    ),
    Option(
        "seed", INTEGER, "the same seed gives the same result", (PROPAGATE,),
        default=0, least=0, most=2**63 - 1, metavar="N", group=METHOD_GROUP,
    ),
    Option(
        "warm_start", PATH, "start from this few-shot model instead of afresh", (PROPAGATE,),
        metavar="M.fewshot", group=METHOD_GROUP,
    ),
    Option(
        "save_model", PATH, "keep what was learned for “fewshotsam apply”", (PROPAGATE,), EVERYWHERE,
        metavar="M.fewshot", group=METHOD_GROUP,
    ),
    Option(
        "checkpoint", PATH, "file with the encoder's weights, on any disk", shown=(CLI, PANEL),
        metavar="FILE", group=COMPUTING,
    ),
    Option(
        "device", TEXT, "where to compute; auto is the fastest there is", shown=EVERYWHERE, default=AUTO,
        choices=(AUTO, "cuda", "mps", "cpu"), pattern=r"cuda:\d+", metavar="auto|cuda|mps|cpu|cuda:N", group=COMPUTING,
    ),
    Option(
        "precision", TEXT, "format of the numbers; auto is the fastest that is exact enough on the device",
        shown=(CLI, PANEL), default=AUTO, choices=PRECISIONS, group=COMPUTING,
    ),
    Option("cache", PATH, "where slices once encoded are kept", metavar="FOLDER", group=COMPUTING),
    Option(
        "no_cache", FLAG, "keep them in memory, for this run only",
        default=False, group=COMPUTING, instead_of="cache",
    ),
    Option(
        "cache_limit_gb", NUMBER, "size limit of the cache", shown=(CLI, PANEL),
        least=0, metavar="GB", group=COMPUTING,
    ),
    Option(
        "largest_island", FLAG, "keep the largest piece of each segment", shown=EVERYWHERE,
        default=False, group=RESULT,
    ),
    Option("fill_holes", FLAG, "fill holes of each segment", shown=EVERYWHERE, default=False, group=RESULT),
    Option(
        "smooth_mm", NUMBER, "smooth outlines by this much", shown=EVERYWHERE,
        default=0, least=0, most=10, metavar="MM", group=RESULT,
    ),
    Option("confidence", PATH, "write a volume of confidence values too", metavar="FILE", group=RESULT),
    Option("classes", PATH, "write the result as one array, too, 1 to C the segments in their order (.npy)", shown=()),
)  # fmt: skip
"""In the order of the command line's help."""

_BY_NAME = {option.name: option for option in OPTIONS}


def option(name: str) -> Option:
    """The option called `name`. Raises KeyError."""
    return _BY_NAME[name]


def options_of(command: str) -> tuple[Option, ...]:
    """Those that a command knows."""
    return tuple(each for each in OPTIONS if command in each.commands)


@cache
def encoder_names() -> tuple[str, ...]:
    """`auto` and the encoders of the registry (Resources/encoders.json)."""
    entries = json.loads(resource_path("encoders.json").read_text(encoding="utf-8"))["encoders"]
    return (AUTO, *(str(entry["name"]) for entry in entries))
