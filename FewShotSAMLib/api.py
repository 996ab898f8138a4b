"""The Python API: volumes and segmentations in memory or in files, computed in this process or in a background one.

Importing this module needs no torch; heavy libraries are imported only when a job runs in this process.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import geometry_of, read_image, write_image
from FewShotSAMLib.core.plausibility import check_two_files
from FewShotSAMLib.core.segment import Segment, default_color
from FewShotSAMLib.core.segmentation import Segmentation, read_segmentation, segmentation_of, write_segmentation
from FewShotSAMLib.core.volume import Volume, read_volume, volume_of
from FewShotSAMLib.worker.client import WorkerClient, follow, report_of
from FewShotSAMLib.worker.failures import as_known_error

if TYPE_CHECKING:
    from FewShotSAMLib.engine.context import JobContext
    from FewShotSAMLib.engine.model_file import FewShotModel
    from FewShotSAMLib.engine.propagation import Segmented

VolumeLike = Volume | Path | str | SimpleITK.Image | tuple[np.ndarray, Geometry]
"""A file or DICOM folder, an image, or an array (K, J, I) with its geometry."""
AnnotationLike = Segmentation | Path | str | SimpleITK.Image | np.ndarray
"""A file, a label map, or an array of labels (K, J, I) on the volume's grid."""
Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the number of its steps that are done, and their total number."""

_STATE: dict[str, Any] = {}
"""Keeps the encoder and embeddings warm from one call to the next, as the background process does."""


@dataclass(frozen=True)
class Model:
    """A few-shot model: the content of its `.fewshot` file."""

    content: bytes = field(repr=False)

    @classmethod
    def load(cls, path: Path | str) -> Model:
        """Read a file; whether it is a model is checked only when it is used."""
        try:
            return cls(Path(path).read_bytes())
        except OSError as error:
            raise BadInputError(f"{path} cannot be read ({error.strerror}).", "Check its path.") from error

    def save(
        self,
        path: Path | str,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        background: bool | WorkerClient = False,
        **options: Any,
    ) -> None:
        """Write the file atomically, including the part needed for volumes unlike the model's own; if the model lacks
        that part, it is learned first, which takes seconds. Arguments and errors as for `apply`."""
        with tempfile.TemporaryDirectory(prefix="fewshotsam-") as folder:
            own = Path(folder) / "model.fewshot"
            own.write_bytes(self.content)
            parameters = {**_request_values(options), "model": str(own)}
            if background:
                _background_report(background, "complete_model", parameters, progress, cancel)
            else:
                with _local_context(progress, cancel) as context:
                    from FewShotSAMLib.engine.jobs import complete_model

                    complete_model(parameters, context)
            with atomic_path(Path(path)) as temporary:
                temporary.write_bytes(own.read_bytes())


@dataclass(frozen=True, eq=False)
class Result:
    """segmentation: of the whole volume, painted slices exactly as painted. confidence: (K, J, I) uint8, percent.

    report: the job's report, as the command line writes it with --json.
    """

    segmentation: Segmentation
    confidence: np.ndarray
    report: Mapping[str, Any]
    _model: Callable[[], Model] | None = field(default=None, repr=False)
    _source: tuple[Any, ...] = field(default=(), repr=False)

    @cached_property
    def model(self) -> Model | None:
        """The learned model, for `apply` and `propagate(warm_start=...)`; computed on first access, which may
        encode the painted slices again. None after `apply`."""
        return None if self._model is None else self._model()

    @property
    def next_slices(self) -> list[int]:
        """The slices worth painting next, the most useful first."""
        return list(self.report["next_slices"])

    @property
    def warnings(self) -> list[str]:
        """The warnings that the job gave."""
        return list(self.report["warnings"])

    def mask(self, name: str) -> np.ndarray:
        """The voxels of the segment with this name, (K, J, I) bool."""
        for segment in self.segmentation.segments:
            if segment.name == name:
                return self.segmentation.mask(segment)
        names = ", ".join(segment.name for segment in self.segmentation.segments)
        raise BadInputError(f"There is no segment “{name}”.", f"Choose one of: {names}.")

    def save(self, path: Path | str) -> list[str]:
        """Write a `.seg.nrrd`, NRRD, NIfTI or MetaImage file, or a DICOM SEG (`.dcm`) of a DICOM series; returns
        warnings."""
        return write_segmentation(self.segmentation, path, self._source)


def propagate(
    volume: VolumeLike,
    annotation: AnnotationLike,
    *,
    axis: int | None = None,
    empty_slices: Iterable[int] = (),
    empty_of: Mapping[str, Iterable[int]] | None = None,
    painted_slices: Iterable[int] | None = None,
    warm_start: Model | Path | str | None = None,
    models: Iterable[Model | Path | str] = (),
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    background: bool | WorkerClient = False,
    **options: Any,
) -> Result:
    """Learn from the painted slices of a volume and segment its other slices.

    Slice numbers are 0-based along the array axis `axis`; None detects the axis. `empty_slices` contain none of the
    segments; `empty_of` lists, by a segment's name, those without that segment. `models` come from earlier volumes;
    they count as far as they agree with what is painted. Setting `cancel` stops the run. With `background`, the job
    runs in a background process: one started for this call, or a given `WorkerClient` that stays warm. options: those
    of the command line `fewshotsam propagate`, with `_` for `-`, such as method, encoder, device, steps, seed.
    Raises BadInputError, CancelledError or MemoryShortageError, each with a hint about what to do.
    """
    if isinstance(volume, Path | str) and isinstance(annotation, Path | str):
        check_two_files(Path(volume), Path(annotation))
    target = _volume(volume)
    segmentation = _segmentation(annotation, target.geometry)
    given = {**options, "axis": axis, "empty_slices": list(empty_slices)}
    if empty_of:
        given["empty_of"] = {name: list(indices) for name, indices in empty_of.items()}
    if painted_slices is not None:
        given["painted_slices"] = list(painted_slices)
    start = None if warm_start is None else _model(warm_start)
    others = {_name_of(each, number): _model(each) for number, each in enumerate(models, start=1)}
    if background:
        return _in_background(
            "propagate", target, segmentation, start, given | _file_of(volume), progress, cancel, background, others
        )
    with _local_context(progress, cancel, target.warnings) as context:
        from FewShotSAMLib.engine.context import StageTimer
        from FewShotSAMLib.engine.earlier import Earlier
        from FewShotSAMLib.engine.model_file import parse_model
        from FewShotSAMLib.engine.propagation import propagate_volume
        from FewShotSAMLib.engine.request import PropagateOptions

        request = PropagateOptions.from_parameters(_request_values(given))
        begun = None if start is None else parse_model(start.content)
        earlier = [Earlier(name, parse_model(each.content)) for name, each in others.items()]
        done = propagate_volume(target, segmentation, request, context, StageTimer(), begun, earlier=earlier)
        return _result(done)


def apply(
    model: Model | Path | str,
    volume: VolumeLike,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    background: bool | WorkerClient = False,
    **options: Any,
) -> Result:
    """Segment a volume with what was learned on another one; arguments and errors as for `propagate`."""
    target, learned = _volume(volume), _model(model)
    if background:
        return _in_background("apply", target, None, learned, options | _file_of(volume), progress, cancel, background)
    with _local_context(progress, cancel, target.warnings) as context:
        from FewShotSAMLib.engine.context import StageTimer
        from FewShotSAMLib.engine.model_file import parse_model
        from FewShotSAMLib.engine.propagation import apply_to_volume
        from FewShotSAMLib.engine.request import ApplyOptions

        request = ApplyOptions.from_parameters(_request_values(options))
        return _result(apply_to_volume(parse_model(learned.content), target, request, context, StageTimer()))


def _volume(given: VolumeLike) -> Volume:
    if isinstance(given, Volume):
        return given
    if isinstance(given, Path | str):
        return read_volume(given)
    if isinstance(given, SimpleITK.Image):
        return volume_of(*_voxels(given))
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Geometry):
        return volume_of(np.asarray(given[0]), given[1])
    raise BadInputError(
        f"A {type(given).__name__} is not a volume.", "Give a path, a SimpleITK image, or (array, fss.Geometry)."
    )


def _file_of(given: VolumeLike) -> dict[str, Any]:
    """The job's parameter for a volume that is already a file, which says more than the voxels, such as modality."""
    return {"volume": Path(given).absolute()} if isinstance(given, Path | str) else {}


def _segmentation(given: AnnotationLike, geometry: Geometry) -> Segmentation:
    if isinstance(given, np.ndarray):
        return segmentation_of(given, geometry)
    if isinstance(given, Segmentation):
        return given
    if isinstance(given, Path | str):
        return read_segmentation(given)
    if isinstance(given, SimpleITK.Image):
        return segmentation_of(*_voxels(given))
    raise BadInputError(
        f"A {type(given).__name__} is not an annotation.", "Give a path, a SimpleITK label map, or an array of labels."
    )


def _voxels(image: SimpleITK.Image) -> tuple[np.ndarray, Geometry]:
    if image.GetDimension() != 3:
        raise BadInputError(f"The image has {image.GetDimension()} dimensions.", "Give a 3D image.")
    return SimpleITK.GetArrayFromImage(image), geometry_of(image)


def _model(given: Model | Path | str) -> Model:
    return given if isinstance(given, Model) else Model.load(given)


def _name_of(given: Model | Path | str, number: int) -> str:
    """The name of an earlier volume's model in the report, with its number in front."""
    return f"{number}" if isinstance(given, Model) else f"{number} {Path(given).stem}"


def _request_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a request holds them: paths as strings, tuples as lists."""
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
    }


@contextmanager
def _local_context(
    progress: Progress | None, cancel: threading.Event | None, warnings: Iterable[str] = ()
) -> Iterator[JobContext]:
    """The context of a job in this process, with its volume's warnings; errors are converted to FewShotSAM's own."""
    try:
        from FewShotSAMLib.engine.context import JobContext

        context = JobContext(_listener(progress), cancel, state=_STATE)
        for warning in warnings:
            context.warning(warning)
        yield context
    except Exception as error:
        known = as_known_error(error)
        if known is None or known is error:
            raise
        raise known from error


def _listener(progress: Progress | None) -> Callable[[str, Mapping[str, Any]], None]:
    def listen(kind: str, fields: Mapping[str, Any]) -> None:
        if kind == "progress" and progress is not None:
            progress(fields["stage"], fields["done"], fields["total"])

    return listen


def _result(done: Segmented) -> Result:
    confidence = done.prediction.confidence
    assert confidence is not None
    model = done.model
    packed = None if model is None else lambda: _packed(model())
    return Result(done.segmentation, confidence, done.report(), packed, done.run.volume.source)


def _packed(model: FewShotModel) -> Model:
    from FewShotSAMLib.engine.model_file import model_bytes

    return Model(model_bytes(model))


def _in_background(
    job: str,
    volume: Volume,
    annotation: Segmentation | None,
    model: Model | None,
    options: Mapping[str, Any],
    progress: Progress | None,
    cancel: threading.Event | None,
    background: bool | WorkerClient,
    earlier: Mapping[str, Model] | None = None,
) -> Result:
    """Run the job in a background process, which exchanges files with this one in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="fewshotsam-") as name:
        folder = Path(name)
        files = {"volume": folder / "volume.nrrd", "output": folder / "result.seg.nrrd"}
        files["confidence"] = folder / "confidence.nrrd"
        if "volume" in options:
            files["volume"] = options["volume"]
        else:
            write_image(volume.voxels, volume.geometry, files["volume"], volume.modality)
        if annotation is not None:
            files |= {"annotation": folder / "painted.seg.nrrd", "save_model": folder / "learned.fewshot"}
            options = {**options, "model_as_is": True}
            write_segmentation(annotation, files["annotation"])
        if model is not None:
            files["model" if annotation is None else "warm_start"] = folder / "given.fewshot"
            (folder / "given.fewshot").write_bytes(model.content)
        for name, each in (earlier or {}).items():
            (folder / f"{name}.fewshot").write_bytes(each.content)
        names = [str(folder / f"{name}.fewshot") for name in earlier or {}]
        parameters = _request_values({**options, **files, **({"models": names} if names else {})})
        report = _background_report(background, job, parameters, progress, cancel)
        report["warnings"] = list(dict.fromkeys([*volume.warnings, *report["warnings"]]))
        learned = Model.load(files["save_model"]) if annotation is not None else None
        segmentation = _read_result(files["output"], report, volume.geometry)
        confidence = np.array(read_image(files["confidence"]).voxels)
        return Result(segmentation, confidence, report, None if learned is None else lambda: learned, volume.source)


def _background_report(
    background: bool | WorkerClient,
    job: str,
    parameters: Mapping[str, Any],
    progress: Progress | None,
    cancel: threading.Event | None,
) -> dict[str, Any]:
    """Run a job in the given background process, or in one started for it, and return the report."""
    listen, cancelled = _listener(progress), cancel or threading.Event()
    with nullcontext(background) if isinstance(background, WorkerClient) else WorkerClient() as client:
        request = client.request(job, parameters)
        return report_of(follow(client, request, lambda event: listen(event["type"], event), cancelled.is_set))


def _read_result(path: Path, report: Mapping[str, Any], geometry: Geometry) -> Segmentation:
    """The segmentation that the job wrote; an empty one is made anew, as `read_segmentation` refuses such files."""
    if any(segment["voxels"] for segment in report["segments"]):
        return read_segmentation(path)
    segments = tuple(
        Segment(entry["name"], entry["name"], default_color(number), entry["label_value"])
        for number, entry in enumerate(report["segments"])
    )
    return Segmentation(np.zeros((1, *geometry.shape), np.uint8), geometry, segments)
