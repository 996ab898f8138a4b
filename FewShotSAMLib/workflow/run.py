"""One propagation: gathers the painted slices, writes them for the background process, and shows the results."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.core.segmentation import write_segmentation
from FewShotSAMLib.workflow.inputs import build_annotation, described, segmentation_of, write_volume
from FewShotSAMLib.workflow.message import WARNING, Message, message_of
from FewShotSAMLib.workflow.painted_slices import PaintedSlice, ticked_slices
from FewShotSAMLib.workflow.scene import ScenePreview, SceneSegment, SceneVolume, Target
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.work import LastModel, learns_like

SHOWING_S = 0.012
"""Time that one poll spends on showing slices, in seconds."""
SLICES_AT_ONCE = 4


class RunFiles:
    """The files of one job folder: volume and annotation as the background process reads them. A volume is written once
    and then again only after it has changed.

    Each run writes to new file names: Windows cannot replace a file that is mapped into memory, as the last result is
    here and the last few-shot model in the background process. model_is_behind: corrections were made after it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volume, self.annotation = folder / "volume.nrrd", folder / "annotation.seg.nrrd"
        self.model: Path | None = None
        self.model_is_behind = False
        self._written: tuple[str, int, int] | None = None
        self._name = ""
        self._runs = itertools.count(1)

    def of_new_run(self) -> tuple[Path, Path]:
        """Paths for a run's few-shot model and for its result, which is one array."""
        number = next(self._runs)
        return self.folder / f"learned-{number}.fewshot", self.folder / f"classes-{number}.npy"

    def keep_model(self, path: Path) -> None:
        """Make this `model`, the few-shot model of the last completed run, and delete the one before."""
        if self.model not in (None, path):
            discard(self.model)
        self.model, self.model_is_behind = path, False

    def keep_volume(self, volume: SceneVolume) -> None:
        """Write the volume unless it is already written unchanged; callable in any thread."""
        stamp, self._name = (volume.id, volume.version, volume.voxels.nbytes), volume.name
        if self._written != stamp or not self.volume.is_file():
            self._written = None
            write_volume(volume, self.volume)
            self._written = stamp

    def message_of(self, error: FewShotSAMError) -> Message:
        """An error as a message, with the volume's name in the scene: the process knows only the name of our file."""
        message = message_of(error)
        return replace(message, text=message.text.replace(str(self.volume), f"“{self._name}”"))


class Writing(Protocol):
    """A job whose inputs a thread writes."""

    writing: Future[None] | None


def take_written(job: Writing) -> bool:
    """Whether the inputs have been written by now; True once. Raises the exception of the writing thread."""
    if job.writing is None or not job.writing.done():
        return False
    writing, job.writing = job.writing, None
    writing.result()
    return True


@dataclass(frozen=True)
class RunPlan:
    """What a run learns from and where its result goes. segments: those painted on exemplars, in the result's order.

    painted: ids of the segments on each painted slice; absent: slices that contain none of a segment, by its id.
    models: of earlier patients.
    """

    target: Target
    volume: SceneVolume
    segments: tuple[SceneSegment, ...]
    axis: int
    painted: Mapping[int, tuple[str, ...]]
    empty: tuple[int, ...]
    absent: Mapping[str, list[int]]
    range: tuple[int, int] | None
    settings: Settings
    slices: tuple[PaintedSlice, ...] = ()
    models: tuple[Path, ...] = ()

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """Ids of the segments, in the order of the classes 1 to C."""
        return tuple(segment.id for segment in self.segments)

    @property
    def learns_like(self) -> tuple[Any, ...]:
        """See `work.learns_like`."""
        return learns_like(self.target, self.axis, self.settings, self.models)


def plan_run(
    target: Target,
    volume: SceneVolume,
    segments: Sequence[SceneSegment],
    slices: Sequence[PaintedSlice],
    axis: int,
    range_: tuple[int, int] | None,
    settings: Settings,
    models: tuple[Path, ...] = (),
) -> RunPlan:
    """The run that these ticked slices define. Raises BadInputError if no segment is painted on them."""
    indices, empty = ticked_slices(slices)
    painted = {each.index: each.segment_ids for each in slices if each.index in indices}
    named = {segment_id for ids in painted.values() for segment_id in ids}
    taking_part = tuple(segment for segment in segments if segment.id in named)
    if not taking_part:
        raise BadInputError("No visible segment is painted on the ticked slices.", "Paint one, or tick its slices.")
    absent = {one.id: [each.index for each in slices if one.id in each.absent_ids] for one in taking_part}
    known = (axis, painted, tuple(empty), absent, range_)
    return RunPlan(target, volume, taking_part, *known, settings, tuple(slices), models)


@dataclass
class Run:
    """A propagation under way or waiting to be applied. asked: predicted slices that could contain a segment; partly:
    segments predicted on slices that are painted for others. whole: predict every slice, even if a correction would
    do."""

    plan: RunPlan
    files: RunFiles
    preview: ScenePreview
    whole: bool = False
    writing: Future[None] | None = None
    classes: np.ndarray | None = None
    predicted: tuple[int, ...] = ()
    asked: frozenset[int] = frozenset()
    partly: dict[int, tuple[str, ...]] = field(default_factory=dict)
    can_be_corrected: bool = False
    _model_path: Path = field(init=False)
    _classes_path: Path = field(init=False)
    _to_show: list[tuple[np.ndarray, list[int], list[int]]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _painted: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Choose the files that the run will write."""
        self._model_path, self._classes_path = self.files.of_new_run()

    def write_inputs(self, executor: Executor) -> None:
        """Start writing volume and painted slices in another thread."""
        self.writing = executor.submit(self._write)

    def learned(self, before: LastModel | None) -> LastModel:
        """What the run learned, once the result is there. before: the same for the previous run."""
        plan = self.plan
        slices = frozenset((*plan.painted, *plan.empty, *self.asked))
        if before is not None and before.like == plan.learns_like:
            slices |= before.slices
        painted = plan.slices if self.can_be_corrected else ()
        return LastModel(plan.learns_like, plan.segment_ids, slices, painted)

    def parameters(self, learned: LastModel | None) -> dict[str, Any]:
        """The parameters of the job `propagate`. learned: by the previous run, None if there is no few-shot model."""
        plan, files = self.plan, self.files
        known = None if learned is None else (learned.like, learned.segment_ids)
        is_alike = known == (plan.learns_like, plan.segment_ids)
        is_warm = is_alike and files.model is not None and files.model.is_file()
        return {
            "volume": str(files.volume),
            "annotation": str(files.annotation),
            "classes": str(self._classes_path),
            "save_model": str(self._model_path),
            "model_as_is": True,
            "job_folder": str(files.folder),
            "correct": not self.whole,
            "axis": plan.axis,
            "painted_slices": list(plan.painted),
            "empty_slices": list(plan.empty),
            "empty_of": {each: indices for each, indices in plan.absent.items() if indices},
            **({} if plan.range is None else {"range": list(plan.range)}),
            **({"warm_start": str(files.model)} if is_warm else {}),
            **({"models": [str(each) for each in plan.models]} if plan.models else {}),
            **plan.settings.parameters(),
        }

    def take_preview(self, event: Mapping[str, Any]) -> None:
        """Take predicted slices, which the next polls show. Skips a preview whose file no longer exists."""
        path = Path(event["path"])
        try:
            slices = np.load(path, allow_pickle=False)
        except OSError:
            return  # the result will show these slices
        discard(path)
        if self._painted is not None:
            self._wait_to_show(self._painted, range(len(self._painted)), tuple(self.plan.painted))
            self._painted = None
        self._wait_to_show(slices, range(len(slices)), [int(index) for index in event["slices"]])

    def take_result(self, report: Mapping[str, Any]) -> None:
        """Take the final result, which replaces everything shown before."""
        if report["corrected"] is None:
            self.files.keep_model(self._model_path)
        else:
            self.files.model_is_behind = True
        self.can_be_corrected = bool(report["can_be_corrected"])
        self.classes = np.load(self._classes_path, mmap_mode="r", allow_pickle=False)
        self.predicted = tuple(int(each["index"]) for each in report["slices"] if each["origin"] == "predicted")
        self.asked = frozenset(report["asked"])
        ids = self.plan.segment_ids
        for row in report["slices"]:
            if labels := row.get("predicted_segments"):
                self.partly[int(row["index"])] = tuple(ids[label - 1] for label in labels)
        along = np.moveaxis(self.classes, self.plan.axis, 0)
        self._to_show = []
        for wanted in (tuple(self.plan.painted), self.predicted):
            self._wait_to_show(along, wanted, wanted)

    def show_some(self) -> bool:
        """Show waiting slices for SHOWING_S; True if none is left."""
        end = time.monotonic() + SHOWING_S
        while self._to_show and time.monotonic() < end:
            along, places, indices = self._to_show.pop(0)
            slices = np.ascontiguousarray(along[places])
            if self.classes is not None and indices[0] not in self.plan.painted:
                self._seen.update(np.flatnonzero(np.bincount(slices.ravel(), minlength=256)).tolist())
            self.preview.show(slices, self.plan.axis, indices)
        return not self._to_show

    def _wait_to_show(self, along: np.ndarray, places: Sequence[int], indices: Sequence[int]) -> None:
        """Queue slices at these places of an array, to be shown at these indices, a few at once. Painted slices are
        shown as well: without them the surface in 3D would have gaps."""
        for start in range(0, len(indices), SLICES_AT_ONCE):
            some = slice(start, start + SLICES_AT_ONCE)
            self._to_show.append((along, list(places[some]), list(indices[some])))

    def _write(self) -> None:
        plan = self.plan
        self.files.keep_volume(plan.volume)
        annotation = build_annotation(plan.segments, plan.volume.geometry, plan.axis, plan.painted)
        self._painted = np.moveaxis(annotation.layers, plan.axis + 1, 1)[:, list(plan.painted)].max(axis=0)
        write_segmentation(annotation, self.files.annotation)

    def segmentation(self) -> Segmentation:
        """The final result, painted slices too."""
        assert self.classes is not None
        return segmentation_of(self.classes, self.plan.volume.geometry, described(self.plan.segments))

    def count(self, slices: Iterable[int]) -> int:
        """How many of them could contain a segment, as counted in the estimate before the run."""
        return len(self.asked.intersection(slices))

    def close(self) -> None:
        """Remove the preview, and delete the files that are no longer needed."""
        self.preview.remove()
        self.classes, self._to_show = None, []
        unused = [] if self.files.model == self._model_path else [self._model_path]
        for path in (self._classes_path, *unused, *self.files.folder.glob("preview-*.npy")):
            discard(path)

    def not_found(self) -> Message | None:
        """A warning of segments without a predicted voxel, once everything is shown; None if there are none."""
        missing = [f"“{s.name}”" for n, s in enumerate(self.plan.segments, start=1) if n not in self._seen]
        text = f"No voxel of {', '.join(missing)} was found on {len(self.asked)} slices."
        hint = "Paint one or two more slices between the painted ones."
        return Message(WARNING, text, hint) if missing else None


def discard(path: Path) -> None:
    """Delete a file of the job folder; one that is still open under Windows is deleted with the folder."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
