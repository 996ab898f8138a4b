"""The workflow on Slicer's real classes, with the real background process, on a real volume."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
import slicer
from harness.scene import EditorWidget, add_segmentation, add_volume, only, paint, stored, voxels
from warm import WarmClient

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import slices_of, slices_to_paint
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.volume import read_volume
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.workflow import Message, Session, State

LEFT, RIGHT = "Hippocampe antérieur", "後部"
STEPS = 2  # these tests only check where results go


@dataclass
class Journey:
    """A volume with two labelled structures, both painted on three slices, in a scene with a segment editor."""

    session: Session
    editor: EditorWidget
    segmentation: slicer.vtkMRMLSegmentationNode
    geometry: Geometry
    truth: dict[str, np.ndarray]
    painted: list[int]
    said: list[Message] = field(default_factory=list)

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, f"still {self.session.state}: {self.said}"
            self.session.poll()
            time.sleep(0.01)

    def now(self) -> dict[str, np.ndarray]:
        return {name: voxels(self.segmentation, name, self.geometry) for name in self.truth}

    def propagate(self) -> None:
        self.session.propagate()
        self.until(lambda: self.session.state in (State.PREVIEW, State.IDLE))
        assert self.session.state is State.PREVIEW, self.said


@pytest.fixture
def journey(scene: slicer.vtkMRMLScene, shared_data: Path, warm_client: WarmClient) -> Iterator[Journey]:
    volume = read_volume(shared_data / "mr-hippocampus-001" / "image.nii.gz")
    labels = read_segmentation(shared_data / "mr-hippocampus-001" / "labels.nii.gz")
    truth = {name: labels.mask(s) for name, s in zip((LEFT, RIGHT), labels.segments, strict=True)}
    node = add_volume(scene, volume.voxels, volume.geometry)
    segmentation = add_segmentation(scene, node, list(truth))
    painted = sorted({index for mask in truth.values() for index in slices_to_paint(mask, 1, 3)})
    for name, mask in truth.items():
        paint(segmentation, name, only(mask, 1, painted), volume.geometry)
    editor = EditorWidget(scene, segmentation)
    session = Session(MRMLScene(scene, editor), warm_client)
    made = Journey(session, editor, segmentation, volume.geometry, truth, painted)
    session.said.connect(made.said.append)
    session.set_inputs(node.GetID(), segmentation.GetID())
    made.until(lambda: session.why_not() == "")
    yield made
    session.close()


def test_paint_propagate_apply_export_undo(journey: Journey, tmp_path: Path) -> None:
    session = journey.session
    assert session.axis == 1 and [each.index for each in session.painted] == journey.painted
    before, drawn = stored(journey.segmentation), journey.now()
    journey.propagate()
    assert stored(journey.segmentation) == before, "the preview is a segmentation of its own"
    session.apply()
    applied = journey.now()
    assert not [message for message in journey.said if message.level == "error"]
    for name, mask in applied.items():
        assert np.array_equal(mask[:, journey.painted], drawn[name][:, journey.painted])
        rest = [index for index in slices_of(journey.truth[name], 1) if index not in journey.painted]
        assert dice(mask[:, rest], journey.truth[name][:, rest]) > 0.6
    path = tmp_path / "Größe 海馬.seg.nrrd"
    session.export(path)
    image = SimpleITK.ReadImage(str(path))
    geometry = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    assert np.allclose(geometry.index_to_physical(), journey.geometry.index_to_physical(), atol=1e-6)
    data, header = nrrd.read(str(path))
    assert data.shape[-3:] == journey.geometry.size
    assert "Segment1_LabelValue" in header  # pynrrd drops what is not ASCII, so names are compared below
    written = read_segmentation(path)
    assert all(np.array_equal(written.mask(s), applied[s.name]) for s in written.segments)

    journey.editor.undo()
    assert stored(journey.segmentation) == before, "one Undo takes back everything"
    journey.until(lambda: session.why_not() == "" and session._tracker.is_up_to_date)
    assert [each.index for each in session.painted] == journey.painted


def test_other_segments_under_the_editors_masking_are_not_changed(journey: Journey) -> None:
    """A third, hidden segment lies across, and nothing inside a segment may be edited: results go around it."""
    everything = np.zeros(journey.geometry.shape, bool)
    everything[: journey.geometry.shape[0] // 2] = True
    everything[:, journey.painted] = False
    segmentation = journey.segmentation.GetSegmentation()
    segmentation.AddEmptySegment("wall", "wall")
    for mask in journey.now().values():
        everything &= ~mask
    paint(journey.segmentation, "wall", everything, journey.geometry)
    journey.segmentation.GetDisplayNode().SetSegmentVisibility("wall", False)
    journey.editor.mrmlSegmentEditorNode().SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    journey.session.mark_modified()
    journey.propagate()
    journey.session.apply()
    assert np.array_equal(voxels(journey.segmentation, "wall", journey.geometry), everything)
    held = {name: mask for name, mask in journey.now().items() if name != "wall"}
    assert all(mask.any() and not (mask & everything).any() for mask in held.values())


def test_the_scene_closed_while_it_runs(journey: Journey, scene: slicer.vtkMRMLScene) -> None:
    journey.session.propagate()
    journey.until(lambda: journey.session.state is State.RUNNING)
    scene.Clear(False)
    journey.session.forget_scene()
    assert journey.session.state is State.IDLE and journey.session.preview is None
    journey.session.poll()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
