"""Every option of `propagate`, `apply` and `cohort` in one table: name, values, default, help, and who shows it.

The command line, the checks of a request, the panel, the browser app and docs/options.md are built from it. It needs
only the standard library, so that Slicer's own process can read it, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, METHOD_NAMES
from FewShotSAMLib.option_kinds import (
    AUTO,
    AXIS,
    FLAG,
    INTEGER,
    LARGEST_INTEGER,
    NUMBER,
    PATH,
    PATHS,
    RANGE,
    SLICES,
    SLICES_OF,
    TEXT,
    Kind,
)

AUTOMATIC_ENCODER = "tiny"
"""The encoder that `auto` stands for, with or without a GPU: no other has been measured to be better
(docs/benchmark.md). The rules for device `auto` and precision `auto` are in sam/precision.py, which knows the device.
"""
PROPAGATE, APPLY, COHORT = "propagate", "apply", "cohort"
JOBS = (PROPAGATE, APPLY)
ALL = (*JOBS, COHORT)
LEARNING = (PROPAGATE, COHORT)
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
    "fine-tune": "Learning from the painted slices",
    "learn": "Improving the first answer",
    "adapt": "Preparing the model for other volumes",
    "register": "Registering to the volume that was learned from",
    "predict": "Predicting slices",
    "write": "Writing the result",
    "inspect": "Inspecting this computer",
    "download": "Downloading",
    "benchmark": "Measuring",
}
"""The names of progress events' stages as users see them."""


@dataclass(frozen=True)
class Option:
    """One option.

    name: in a request; on the command line with dashes, unless it is positional. default: the value of an option that
    is not given (None: see the help). choices: all values, if they can be listed; pattern: a regular expression for
    further values. least, most: bounds of a number, both included. group: its heading in the command line's help.
    instead_of: an option that cannot be combined with this one. several_in: commands of the command line that accept
    several values. optional_in: commands in which a positional option is optional and given by its flag. suffix:
    required ending of a file name. unless: an option that a request may give instead of this one, which is required.
    """

    name: str
    kind: Kind
    help: str
    commands: tuple[str, ...] = JOBS
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
    unless: str = ""
    is_positional: bool = False
    several_in: tuple[str, ...] = ()
    optional_in: tuple[str, ...] = ()
    suffix: str = ""

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def words(self) -> str:
        """A description of the allowed values, to end a sentence with."""
        if self.choices:
            others = [self.metavar.rpartition("|")[2]] if self.pattern else []
            return f"one of {', '.join([*self.choices, *others])}"
        if self.suffix:
            return f"{self.kind.words} that ends in {self.suffix}"
        if self.least is None:
            return self.kind.words
        upper = "up" if self.most is None else f"to {self.most:g}"
        return f"{self.kind.words} from {self.least:g} {upper}"

    def read(self, text: str) -> Any:
        """Parse a typed text into a request's value. Raises ValueError that says what is allowed."""
        try:
            value = self.kind.read(text)
            self.check(value)
        except ValueError as error:
            raise ValueError(self.words) from error
        return value

    def check(self, value: Any) -> Any:
        """The value as jobs use it. Raises ValueError that says what is allowed."""
        try:
            checked = self.kind.check(value)
        except TypeError as error:
            raise ValueError(self.words if self.choices or self.least is not None else str(error)) from error
        is_listed = not self.choices or value in self.choices or bool(re.fullmatch(self.pattern or "(?!)", str(value)))
        if self.kind is not AXIS and not is_listed:
            raise ValueError(self.words)
        if self.least is not None and not self.least <= checked <= (float("inf") if self.most is None else self.most):
            raise ValueError(self.words)
        if self.suffix and not str(checked).lower().endswith(self.suffix):
            raise ValueError(self.words)
        if checked == float("inf"):
            raise ValueError(self.words)
        return checked


SLICES_GROUP, METHOD_GROUP = "slices (array indices, beginning with 0)", "method"
COMPUTING, RESULT, ROWS = "computing", "result (all off by default)", "rows"

OPTIONS = (
    Option(
        "model", PATH, "file that “fewshotsam propagate --save-model” wrote", (APPLY, COHORT), EVERYWHERE,
        metavar="M.fewshot", is_required=True, is_positional=True, optional_in=(COHORT,),
    ),
    Option(
        "volume", PATH, "NRRD, NIfTI, MHA or a DICOM folder", shown=EVERYWHERE,
        metavar="VOLUME", is_required=True, is_positional=True, several_in=(APPLY,),
    ),
    Option(
        "annotation", PATH,
        "label map or .seg.nrrd in the volume's geometry; on slices with its label, a segment counts as complete",
        (PROPAGATE,), EVERYWHERE, metavar="ANNOTATION", is_required=True, is_positional=True,
    ),
    Option(
        "output", PATH, "segmentation (.seg.nrrd, DICOM: .dcm) or label map (.nrrd, .nii.gz, .nii, .mha)",
        metavar="OUT", aliases=("-o",), is_required=True, unless="classes",
    ),
    Option(
        "axis", AXIS, "array axis of the painted slices: 0 = k, 1 = j, 2 = i", LEARNING, EVERYWHERE,
        default=AUTO, choices=(AUTO, "0", "1", "2"), metavar="auto|0|1|2", group=SLICES_GROUP,
    ),
    Option(
        "empty_slices", SLICES, "slices that hold none of the segments", LEARNING, EVERYWHERE,
        metavar="3,40", group=SLICES_GROUP,
    ),
    Option(
        "empty_of", SLICES_OF, "slices that hold none of one segment, by its name or label value; repeat for others",
        (PROPAGATE,), EVERYWHERE, metavar="NAME=3,40", group=SLICES_GROUP,
    ),
    Option(
        "painted_slices", SLICES, "learn from these only and ignore labels elsewhere", LEARNING, EVERYWHERE,
        metavar="10,20-25", group=SLICES_GROUP,
    ),
    Option(
        "range", RANGE, "predict these slices only, both included (default: all)", shown=EVERYWHERE,
        metavar="FIRST,LAST", group=SLICES_GROUP,
    ),
    Option(
        "method", TEXT, "see the list below", LEARNING, EVERYWHERE,
        default=DEFAULT_METHOD, choices=METHOD_NAMES, metavar="NAME", group=METHOD_GROUP,
    ),
    Option(
        "code_faithful", FLAG, "AutoSAM's heads exactly as published, errors included", LEARNING,
        default=False, group=METHOD_GROUP,
    ),
    Option(
        "encoder", TEXT, f"see “fewshotsam models list”; auto: {AUTOMATIC_ENCODER}, or the one of a few-shot model",
        commands=ALL, shown=EVERYWHERE, default=AUTO, metavar="NAME", group=METHOD_GROUP,
    ),
    Option(
        "normalisation", TEXT,
        "auto, a CT window such as abdomen or lung, percentile:LOW,HIGH or window:LOW,HIGH (default: auto)",
        LEARNING, metavar="KIND", group=METHOD_GROUP, aliases=("--normalization",),
    ),
    Option(
        "steps", INTEGER, "training steps (default: the method's own, fewer after a warm start)", LEARNING,
        least=0, most=100_000, metavar="N", group=METHOD_GROUP,
    ),
    Option(
        "augmented_copies", INTEGER, "augmented copies to learn from per painted or empty slice", LEARNING,
        least=0, most=1000, metavar="N", group=METHOD_GROUP,
    ),
    Option(
        "contact_sheet", PATH, "picture of synthesised pairs (cheap-lunch, synthesis)", (PROPAGATE,),
        metavar="FILE.png", suffix=".png", group=METHOD_GROUP,
    ),
    Option(
        "fresh_augmentation", FLAG,
        "augment and encode again at each step, as AutoSAM does, instead of keeping copies; slow without a GPU",
        LEARNING, default=False, group=METHOD_GROUP,
    ),
    Option(
        "seed", INTEGER, "the same seed gives the same result", LEARNING,
        default=0, least=0, most=LARGEST_INTEGER, metavar="N", group=METHOD_GROUP,
    ),
    Option(
        "warm_start", PATH, "start from this few-shot model instead of from scratch", (PROPAGATE,),
        metavar="M.fewshot", group=METHOD_GROUP,
    ),
    Option(
        "models", PATHS,
        "few-shot models of earlier volumes, used in addition to the painted slices as far as they agree with these",
        LEARNING, EVERYWHERE, metavar="M.fewshot", group=METHOD_GROUP,
    ),
    Option(
        "save_model", PATH, "save what was learned, for “fewshotsam apply”", (PROPAGATE,), EVERYWHERE,
        metavar="M.fewshot", suffix=".fewshot", group=METHOD_GROUP,
    ),
    Option(
        "leave_out_image", FLAG,
        "save the model without the image around the segments; other volumes are then not registered to it",
        (PROPAGATE,), default=False, group=METHOD_GROUP,
    ),
    Option(
        "checkpoint", PATH, "file with the encoder's weights, on any disk", commands=ALL, shown=(CLI, PANEL),
        metavar="FILE", group=COMPUTING,
    ),
    Option(
        "device", TEXT, "where to compute; auto is the fastest there is", ALL, EVERYWHERE, default=AUTO,
        choices=(AUTO, "cuda", "mps", "cpu"), pattern=r"cuda:\d+", metavar="auto|cuda|mps|cpu|cuda:N", group=COMPUTING,
    ),
    Option(
        "precision", TEXT, "format of the numbers; auto is the fastest that is exact enough on the device",
        commands=ALL, shown=(CLI, PANEL), default=AUTO, choices=PRECISIONS, group=COMPUTING,
    ),
    Option(
        "cache", PATH, "folder in which encoded slices are kept", commands=ALL, metavar="FOLDER", group=COMPUTING,
    ),
    Option(
        "no_cache", FLAG, "keep encoded slices in memory, for this run only",
        default=False, group=COMPUTING, instead_of="cache",
    ),
    Option(
        "cache_limit_gb", NUMBER, "size limit of the cache", commands=ALL, shown=(CLI, PANEL),
        least=0, most=1_000_000, metavar="GB", group=COMPUTING,
    ),
    Option(
        "largest_island", FLAG, "keep the largest piece of each segment", commands=ALL, shown=EVERYWHERE,
        default=False, group=RESULT,
    ),
    Option(
        "fill_holes", FLAG, "fill holes of each segment", commands=ALL, shown=EVERYWHERE, default=False, group=RESULT,
    ),
    Option(
        "smooth_mm", NUMBER, "smooth outlines by this much", commands=ALL, shown=EVERYWHERE,
        default=0, least=0, most=10, metavar="MM", group=RESULT,
    ),
    Option("confidence", PATH, "write a volume of confidence values, too", metavar="FILE", group=RESULT),
    Option(
        "plan", PATH,
        "table (.csv, .tsv) of volumes with their annotation or model, a folder of volumes, or a BIDS data set",
        (COHORT,), metavar="PLAN", is_required=True, is_positional=True,
    ),
    Option(
        "output_folder", PATH, "results, cohort.csv and cohort.html; existing results are not computed again",
        (COHORT,), metavar="FOLDER", aliases=("-o", "--output"), is_required=True,
    ),
    Option(
        "pattern", TEXT, "files or DICOM folders that are volumes, such as '*/*_T1w.nii.gz' (default: all in it)",
        (COHORT,), metavar="PATTERN", group=ROWS,
    ),
    Option(
        "annotation_pattern", TEXT,
        "where to find the annotation of a folder's volume, such as '{folder}/{name}-painted.seg.nrrd'",
        (COHORT,), metavar="PATTERN", group=ROWS,
    ),
    Option(
        "format", TEXT, "format of the results, unless the plan states it", (COHORT,), default=".seg.nrrd",
        choices=(".seg.nrrd", ".nrrd", ".nii.gz", ".nii", ".mha", ".dcm"), metavar="SUFFIX", group=ROWS,
    ),
    Option(
        "dicom_names", FLAG, "name results of DICOM folders after these, which may contain patients' names", (COHORT,),
        default=False, group=ROWS,
    ),
    Option(
        "replace", FLAG, "replace results that were made from other files or options, or not by a cohort", (COHORT,),
        default=False, group=ROWS,
    ),
    Option(
        "processes", INTEGER, "volumes at once (default: as many as cores, memory and GPUs allow)",
        (COHORT,), least=1, most=1024, metavar="N", group=COMPUTING,
    ),
    Option(
        "cores_per_process", INTEGER, "cores for each volume", (COHORT,), default=1, least=1, most=1024, metavar="N",
        group=COMPUTING,
    ),
    Option(
        "ray", TEXT, "run on a Ray cluster: auto for the one this computer belongs to, or its address", (COHORT,),
        metavar="auto|ADDRESS", group=COMPUTING,
    ),
    Option(
        "strip", PATH, "picture of the middle and the least sure slices, overlaid with the result (.jpg)", shown=(),
    ),
    Option(
        "correct", FLAG, "predict again only where the paint changed since this process's last run, if possible",
        (PROPAGATE,), default=False, shown=(),
    ),
    Option(
        "model_as_is", FLAG, "omit from the model's file what other volumes need, to be learned when it is used",
        (PROPAGATE,), default=False, shown=(),
    ),
    Option("record", PATH, "the report, written together with the result (.json)", shown=()),
    Option("made_of", TEXT, "kept in the record, to tell whether the result is still up to date", shown=()),
    Option(
        "classes", PATH, "also write the result as one array: 1 to C are the segments in their order", shown=(),
        suffix=".npy",
    ),
    Option("report", PATH, "also write the job's report", shown=(), suffix=".json"),
)  # fmt: skip
"""In the order of the command line's help."""

_BY_NAME = {option.name: option for option in OPTIONS}


def option(name: str) -> Option:
    """The option called `name`. Raises KeyError if there is none."""
    return _BY_NAME[name]


def options_of(command: str) -> tuple[Option, ...]:
    """The options of a command."""
    return tuple(each for each in OPTIONS if command in each.commands)


@cache
def encoder_names() -> tuple[str, ...]:
    """`auto` and the encoders of the registry (Resources/encoders.json)."""
    entries = json.loads(resource_path("encoders.json").read_text(encoding="utf-8"))["encoders"]
    return (AUTO, *(str(entry["name"]) for entry in entries))
