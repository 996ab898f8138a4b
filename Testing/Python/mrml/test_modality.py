"""The modality that DICOM gives a volume is passed to the background process, as if it had read the file itself."""

import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from harness.scene import add_volume

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.intensity import is_ct
from FewShotSAMLib.core.volume import Volume, read_volume
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.web.volumes import add_volume as open_in_browser
from FewShotSAMLib.workflow.facts import InputFacts
from FewShotSAMLib.workflow.inputs import write_volume
from FewShotSAMLib.workflow.painted_slices import PaintedState
from FewShotSAMLib.workflow.scene import Target

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0))
INSIDE_THE_BODY = np.random.default_rng(0).normal(60, 20, GRID.shape).astype(np.int16)
"""A CT cropped so far that nothing in it looks like one."""


def handed_over(scene: slicer.vtkMRMLScene, volume_id: str, path: Path) -> Volume:
    write_volume(MRMLScene(scene).volume(volume_id), path)
    return read_volume(path)


def noted_by_dicom_reader(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode, modality: str) -> None:
    """As DICOMPlugin.addSeriesInSubjectHierarchy does."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    hierarchy.SetItemAttribute(item, name, modality)


def test_a_series_from_the_dicom_module(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    node = add_volume(scene, INSIDE_THE_BODY, GRID)
    guessed = handed_over(scene, node.GetID(), tmp_path / "before.nrrd")
    assert guessed.modality == "" and not is_ct(guessed)[0]
    before = MRMLScene(scene).volume(node.GetID()).version
    noted_by_dicom_reader(scene, node, "CT")
    assert MRMLScene(scene).volume(node.GetID()).version != before, "or the file would not be written again"
    known = handed_over(scene, node.GetID(), tmp_path / "after.nrrd")
    assert is_ct(known) == (True, "DICOM modality CT")
    np.testing.assert_array_equal(known.voxels, INSIDE_THE_BODY)


def test_the_panels_facts_say_so(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene, INSIDE_THE_BODY, GRID)
    noted_by_dicom_reader(scene, node, "PT")
    adapter, facts = MRMLScene(scene), InputFacts(MRMLScene(scene))
    target = Target(node.GetID(), adapter.create_segmentation(node.GetID()))
    while (said := facts.look(target, PaintedState(None, ()))) is None:
        time.sleep(0.01)
    assert said is not None and said["modality"] == {"name": "PT", "why": "DICOM modality PT"}


@pytest.mark.parametrize("modality", ["CT", "MR", ""])
def test_a_series_in_the_browser_app(scene: slicer.vtkMRMLScene, tmp_path: Path, modality: str) -> None:
    node = open_in_browser(scene, Volume(INSIDE_THE_BODY, GRID, modality=modality))
    assert handed_over(scene, node.GetID(), tmp_path / "volume.nrrd").modality == modality


@pytest.mark.parametrize("noted", ["CT\nencoding: gzip", "computed tomography", "C"])
def test_what_is_no_modality_is_left_out(scene: slicer.vtkMRMLScene, tmp_path: Path, noted: str) -> None:
    node = add_volume(scene, INSIDE_THE_BODY, GRID)
    noted_by_dicom_reader(scene, node, noted)
    assert handed_over(scene, node.GetID(), tmp_path / "volume.nrrd").modality == ""
