"""A small phantom with painted slices, ready for a job."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from FewShotSAMLib.benchmark.tasks import read_image_of, read_tasks, read_truth
from FewShotSAMLib.core.annotation import Annotation, annotate
from FewShotSAMLib.core.errors import CancelledError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.intensity import parse_normalisation
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import Segmentation, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import Volume, read_volume
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.jobs import apply, propagate
from FewShotSAMLib.engine.request import ComputeOptions
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.sam import registry
from FewShotSAMLib.sam.encoder import load_encoder
from FewShotSAMLib.sam.registry import Architecture, build_sam, get_spec

SMALL = replace(
    get_spec("vit_b"),
    name="small",
    architecture=Architecture(
        image_size=128, patch_size=16, embed_dim=48, depth=4, num_heads=4, global_attn_indexes=(1, 3), window_size=6
    ),
)


@dataclass(frozen=True)
class Case:
    """Files of a volume and its annotation, and parameters for a quick propagation."""

    folder: Path
    volume: Volume
    truth: Segmentation
    drawn: Segmentation
    parameters: dict[str, Any]
    painted: tuple[int, ...] = (4, 8)
    empty: tuple[int, ...] = (0,)

    def run(self, context: JobContext | None = None, **changes: Any) -> dict[str, Any]:
        """Propagate in this process, with some parameters changed."""
        return propagate({**self.parameters, **changes}, context or JobContext())

    def apply(self, model: Path | str, context: JobContext | None = None, **changes: Any) -> dict[str, Any]:
        """Apply a model to the volume in this process, writing `again.seg.nrrd`, with some parameters changed."""
        names = ("volume", "cache", "device", "checkpoint", "precision")
        own = {name: self.parameters[name] for name in names if name in self.parameters}
        files = {"model": str(model), "output": str(self.folder / "again.seg.nrrd")}
        return apply({**own, **files, **changes}, context or JobContext())

    def result(self, name: str = "result.seg.nrrd") -> Segmentation:
        """Read what a job wrote."""
        return read_segmentation(self.folder / name)

    def check_known_slices(self) -> None:
        """Check that what was painted or declared empty is in the result bit by bit."""
        known = [*self.painted, *self.empty]
        np.testing.assert_array_equal(self.result().layers[:, known], self.drawn.layers[:, known])

    def painted_as(self, segmentation: Segmentation, name: str = "annotation.seg.nrrd") -> dict[str, str]:
        """Return the change of parameters that uses another annotation."""
        write_segmentation(segmentation, self.folder / name)
        return {"annotation": str(self.folder / name)}


class StopAt(JobContext):
    """Is cancelled when a stage begins."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage == self.stage:
            raise CancelledError("stopped")


class Heard(JobContext):
    """Records the stages reported to it."""

    def __init__(self) -> None:
        super().__init__(self._note)
        self.stages: list[str] = []

    def _note(self, kind: str, fields: Mapping[str, Any]) -> None:
        if kind == "progress":
            self.stages.append(fields["stage"])


@pytest.fixture
def full_size() -> None:
    """For tests of the answers' quality: runs are not brief."""


@pytest.fixture(autouse=True)
def mostly_brief(request: pytest.FixtureRequest) -> None:
    """Makes runs brief except for those tests."""
    if "full_size" not in request.fixturenames:
        request.getfixturevalue("brief")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests of the same phantom, which is then encoded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def case(tmp_path: Path, shared_cache: Path, small_vit: dict[str, str]) -> Case:
    """12 slices of 40 x 48 with liver and spleen painted on slices 4 and 8 and slice 0 declared empty, for a small
    encoder of the official classes."""
    volume, truth = ct_phantom((12, 40, 48), seed=3)
    names = ("liver", "spleen")
    truth = replace(truth, segments=tuple(segment for segment in truth.segments if segment.name in names))
    painted = keep_slices(truth, 0, Case.painted, names)
    assert all(np.any(painted.mask(segment)) for segment in painted.segments)
    write_image(volume.voxels, volume.geometry, tmp_path / "volume.nrrd")
    write_segmentation(painted, tmp_path / "painted.seg.nrrd")
    parameters = {
        "volume": str(tmp_path / "volume.nrrd"),
        "annotation": str(tmp_path / "painted.seg.nrrd"),
        "output": str(tmp_path / "result.seg.nrrd"),
        "empty_slices": list(Case.empty),
        **small_vit,
        "device": "cpu",
        "steps": 3,
        "augmented_copies": 1,
        "cache": str(shared_cache),
    }
    return Case(tmp_path, volume, truth, painted, parameters)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of `SMALL`, as torch saves them."""
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    torch.manual_seed(3)
    torch.save(build_sam(SMALL).state_dict(), path)
    return path


@pytest.fixture
def small_vit(small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Parameters of a job on a small network of the official classes with vit_b's layout and random weights."""
    specs = (*registry.all_specs(), SMALL)
    monkeypatch.setattr(registry, "all_specs", lambda: specs)
    return {"encoder": "small", "checkpoint": str(small_checkpoint), "precision": "fp32"}


@pytest.fixture
def guided(case: Case) -> Case:
    """The same for the bundled encoder and its own decoder."""
    own = {name: value for name, value in case.parameters.items() if name not in ("checkpoint", "precision")}
    return replace(case, parameters={**own, "encoder": "tiny"})


@pytest.fixture
def guided_mr(guided: Case, shared_data: Path) -> Case:
    """The bundled encoder on eight slices of a real MR volume, the hippocampus painted on two of them."""
    (task,) = read_tasks(shared_data / "tasks.toml", shared_data, ["mr-hippocampus-001"])
    whole = read_image_of(task, shared_data)
    near = (slice(3, 32), slice(20, 28), slice(4, 32))
    voxels = np.moveaxis(whole.voxels[near], task.axis, 0)
    labels = np.moveaxis(read_truth(task, shared_data, whole.geometry).layers[:, *near], 1 + task.axis, 1)
    geometry = Geometry(voxels.shape[::-1], whole.geometry.spacing)
    segment = replace(guided.truth.segments[0], name="hippocampus", layer=0, label_value=1)
    truth = Segmentation(np.ascontiguousarray(labels), geometry, (segment,))
    drawn = keep_slices(truth, 0, (1, 6), ("hippocampus",))
    write_image(np.ascontiguousarray(voxels), geometry, guided.folder / "mr.nrrd")
    write_segmentation(drawn, guided.folder / "mr.seg.nrrd")
    files = {"volume": str(guided.folder / "mr.nrrd"), "annotation": str(guided.folder / "mr.seg.nrrd")}
    parameters = {**guided.parameters, **files, "empty_slices": []}
    return Case(guided.folder, read_volume(guided.folder / "mr.nrrd"), truth, drawn, parameters, (1, 6), ())


@pytest.fixture
def run(case: Case, small_checkpoint: Path) -> VolumeRun:
    """A run of the phantom through the small encoder."""
    return run_of(case, "small", small_checkpoint)


def run_of(case: Case, name: str, checkpoint: Path | None = None) -> VolumeRun:
    encoder = load_encoder(get_spec(name), checkpoint, "cpu", "fp32", lambda text: None)
    compute = ComputeOptions(checkpoint=checkpoint, device="cpu", precision="fp32", no_cache=True)
    normalisation = parse_normalisation("auto", case.volume)
    return VolumeRun(case.volume, 0, normalisation, encoder, compute, JobContext(), StageTimer())


@pytest.fixture
def annotation(case: Case) -> Annotation:
    """Slices 4 and 8 painted, slice 10 empty."""
    return annotate(case.drawn, 0, (10,))[0]


@pytest.fixture
def tiny_run(case: Case) -> VolumeRun:
    """A run of the phantom through the bundled encoder."""
    return run_of(case, "tiny")
