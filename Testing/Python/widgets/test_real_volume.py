"""The user's path through the panel on a real volume, to files that other programs read."""

from pathlib import Path

import nrrd
import numpy as np
import SimpleITK
import slicer
import slicer.util
from journey import LONGEST_TURN_S, Journey

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import slices_of, slices_to_paint
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.volume import read_volume

STEPS = 0  # only the first answer: two steps of learning make it worse


def test_a_real_volume(journey: Journey, shared_data: Path, tmp_path: Path) -> None:
    """Two structures of an MR volume, painted along its second axis."""
    case = shared_data / "mr-hippocampus-001"
    volume, labels = read_volume(case / "image.nii.gz"), read_segmentation(case / "labels.nii.gz")
    truth = [labels.mask(segment) for segment in labels.segments]
    painted = slices_to_paint(truth[0] | truth[1], 1, 5)
    untouched = volume.voxels.copy()
    journey.open(volume.geometry, volume.voxels)
    journey.segmentation.GetSegmentation().AddEmptySegment("back", "後部 hippocampus")
    for number, mask in enumerate(truth):
        journey.paint(mask, 1, painted, number)
    assert journey.session.axis == 1
    assert [each.index for each in journey.session.painted] == painted
    drawn, before = [journey.voxels(0), journey.voxels(1)], journey.stored()

    journey.turns.clear()
    journey.propagate()
    assert journey.ui.previewFrame.visible and journey.ui.stripLabel.visible
    assert journey.stored() == before
    journey.press("applyButton")
    assert np.array(journey.turns)[:, 1].max() < LONGEST_TURN_S
    journey.editor.undo()
    journey.rest()
    assert journey.stored() == before
    journey.until(lambda: journey.ui.propagateButton.enabled)

    journey.propagate()
    journey.press("applyButton")
    results = [journey.voxels(0), journey.voxels(1)]
    assert not (results[0] & results[1]).any()
    between = [index for index in slices_of(truth[0] | truth[1], 1) if index not in painted]
    for mask, shown, true in zip(results, drawn, truth, strict=True):
        assert np.array_equal(mask[:, painted], shown[:, painted])
        assert mask[:, between].sum() > 0.5 * true[:, between].sum()
    assert dice((results[0] | results[1])[:, between], (truth[0] | truth[1])[:, between]) > 0.7
    assert np.array_equal(slicer.util.arrayFromVolume(journey.volume), untouched)
    for number, suffix in enumerate((".seg.nrrd", ".nrrd", ".nii.gz")):
        checkExport(journey, tmp_path / f"é{suffix}", number, results)


def checkExport(journey: Journey, path: Path, formatNumber: int, results: list[np.ndarray]) -> None:
    """Export through the panel and read back with independent programs."""
    journey.ui.exportFormat.setCurrentIndex(formatNumber)
    journey.dialogs.answer = str(path)
    journey.press("exportButton")
    assert f"Exported to {path}" in journey.message()
    tolerance = 1e-4 if path.name.endswith(".nii.gz") else 1e-6
    expected = journey.geometry.index_to_physical()
    image = SimpleITK.ReadImage(str(path))
    geometry = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    assert geometry.size == journey.geometry.size
    assert np.allclose(geometry.index_to_physical(), expected, atol=tolerance)
    values = [1, 2]
    if path.name.endswith(".nrrd"):
        data, header = nrrd.read(str(path))
        assert np.allclose(header["space directions"][-3:].T, expected[:3, :3], atol=tolerance)
        assert np.allclose(header["space origin"], expected[:3, 3], atol=tolerance)
        assert header["space"] == "left-posterior-superior"
        layer = data.T
        if path.name.endswith(".seg.nrrd"):
            values = [int(header[f"Segment{number}_LabelValue"]) for number in (0, 1)]
            assert [header[f"Segment{number}_ID"] for number in (0, 1)] == journey.segmentIds()
    else:
        layer = SimpleITK.GetArrayFromImage(image)
    assert layer.shape == journey.geometry.shape
    for value, mask in zip(values, results, strict=True):
        assert np.array_equal(layer == value, mask)
    assert set(np.unique(layer)) == {0, *values}
