"""The command line on real CT and MR volumes: every axis, oblique and anisotropic grids, a DICOM folder."""

import json
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.cli import main
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_to_paint
from FewShotSAMLib.core.segmentation import place_on, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import read_volume

CASES = {
    "ct-k": ("ct-multi-organ", "image.nii.gz", 0, (1, 2, 4)),
    "ct-j": ("ct-multi-organ", "image.nii.gz", 1, (1, 2, 4)),
    "ct-i": ("ct-multi-organ", "image.nii.gz", 2, (1, 2)),
    "oblique": ("mr-heart", "image.nii.gz", 0, (1, 2)),
    "oblique-and-thick": ("mr-grey-matter", "image.nii.gz", 0, (1,)),
    "anisotropic": ("ct-spleen", "image.nii.gz", 1, (1,)),
    "dicom": ("ct-upper-abdomen-dicom", "dicom", 0, (5, 6)),
}


@pytest.mark.usefixtures("in_kept_process")
@pytest.mark.parametrize("case", CASES)
def test_propagate_keeps_geometry_and_painted_slices(case: str, shared_data: Path, tmp_path: Path) -> None:
    folder, image, axis, values = CASES[case]
    source = shared_data / folder / image
    volume = read_volume(source)
    truth, _ = place_on(read_segmentation(shared_data / folder / "labels.nii.gz"), volume.geometry)
    masks = {s.name: truth.mask(s) for s in truth.segments if s.label_value in values}
    painted = sorted({index for mask in masks.values() for index in slices_to_paint(mask, axis, 3)})
    empty = empty_neighbours(np.logical_or.reduce(list(masks.values())), axis)
    drawn = keep_slices(truth, axis, painted, list(masks))
    write_segmentation(drawn, tmp_path / "gemalt.seg.nrrd")
    first, last = painted[0], min(painted[0] + 4, volume.geometry.shape[axis] - 1)
    report = propagate(source, tmp_path, ["--axis", str(axis), "--range", f"{first}:{last}"], empty)

    result = read_segmentation(tmp_path / "result.seg.nrrd")
    assert result.geometry.is_same_as(volume.geometry)
    image_of_result = SimpleITK.ReadImage(str(tmp_path / "result.seg.nrrd"))
    np.testing.assert_allclose(image_of_result.GetDirection(), volume.geometry.direction, atol=1e-9)
    np.testing.assert_allclose(image_of_result.GetOrigin(), volume.geometry.origin, atol=1e-9)
    data, header = nrrd.read(str(tmp_path / "result.seg.nrrd"))
    assert data.shape == volume.geometry.size
    assert header["Segment0_Name"] == drawn.segments[0].name
    here = (slice(None),) * (axis + 1) + (painted,)
    np.testing.assert_array_equal(result.layers[here], drawn.layers[here])
    assert not result.layers[(slice(None),) * (axis + 1) + (empty,)].any()
    confidences = {row["index"]: row["confidence"] for row in report["slices"]}
    assert set(confidences) == {*range(first, last + 1), *painted, *empty}


def propagate(volume: Path, folder: Path, options: list[str], empty: list[int]) -> dict:
    """Run the real command, quickly, and return its report."""
    command = ["propagate", str(volume), str(folder / "gemalt.seg.nrrd"), "--quiet"]
    command += ["-o", str(folder / "result.seg.nrrd"), "--json", str(folder / "report.json"), *options]
    command += ["--encoder", "tiny", "--device", "cpu", "--steps", "2", "--augmented-copies", "0"]
    if empty:
        command += ["--empty-slices", ",".join(map(str, empty))]
    assert main(command) == 0
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))
