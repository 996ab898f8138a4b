"""The Python API: the same result from files, images and arrays, here and in the background process."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from core import dicom_files

import FewShotSAMLib as fss  # noqa: N813
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segment import Segment
from FewShotSAMLib.core.segmentation import place_on, read_segmentation
from FewShotSAMLib.worker.process import worker_environment

OPTIONS: dict[str, Any] = {"steps": 0, "device": "cpu", "no_cache": True, "range": (5, 7), "empty_slices": [0]}


@pytest.fixture(scope="module")
def phantom() -> tuple[fss.Volume, np.ndarray, np.ndarray]:
    """A volume, the liver painted on slices 4 and 8 as labels, and the whole liver."""
    volume, truth = ct_phantom((12, 40, 48), seed=3)
    painted = keep_slices(truth, 0, (4, 8), ("liver",))
    return volume, painted.mask(painted.segments[0]).astype(np.uint8), truth.mask(_named(truth, "liver"))


def _named(segmentation: fss.Segmentation, name: str) -> Segment:
    return next(segment for segment in segmentation.segments if segment.name == name)


def image_of(voxels: np.ndarray, geometry: fss.Geometry) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, FewShotSAMLib as fss; before = set(sys.modules); assert 'numpy' not in before\n"
        "assert fss.propagate and fss.apply and fss.Volume and not {'torch', 'h5py', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=worker_environment(), check=True)
    with pytest.raises(AttributeError, match="colour"):
        _ = fss.colour


def test_files_images_and_arrays_give_the_same(phantom: Any, tmp_path: Path) -> None:
    volume, labels, liver = phantom
    image, drawn = image_of(volume.voxels, volume.geometry), image_of(labels, volume.geometry)
    SimpleITK.WriteImage(image, str(tmp_path / "volume.nrrd"))
    SimpleITK.WriteImage(drawn, str(tmp_path / "painted.nrrd"))
    first = fss.propagate((volume.voxels, volume.geometry), labels, **OPTIONS)
    for given, annotation in ((tmp_path / "volume.nrrd", str(tmp_path / "painted.nrrd")), (image, drawn)):
        again = fss.propagate(given, annotation, **OPTIONS)
        np.testing.assert_array_equal(again.segmentation.layers, first.segmentation.layers)
        np.testing.assert_array_equal(again.confidence, first.confidence)
    found = first.mask("Segment 1")
    np.testing.assert_array_equal(found[[4, 8]], labels[[4, 8]] > 0)
    assert 2 * (found & liver)[5:8].sum() / (found[5:8].sum() + liver[5:8].sum()) > 0.85
    assert set(first.next_slices) <= {5, 6, 7} and first.confidence.shape == labels.shape
    first.save(tmp_path / "result.nii.gz")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "result.nii.gz")), found)


def test_the_background_process_gives_the_same_and_its_model_goes_on(
    phantom: Any, tmp_path: Path, warm_client: Any
) -> None:
    volume, labels, _ = phantom
    here = fss.propagate(volume, labels, **OPTIONS)
    heard: list[tuple[str, int, int]] = []
    with warm_client as worker:
        there = fss.propagate(volume, labels, **OPTIONS, background=worker, progress=lambda *stage: heard.append(stage))
        np.testing.assert_array_equal(there.segmentation.layers, here.segmentation.layers)
        np.testing.assert_array_equal(there.confidence, here.confidence)
        assert {"read", "predict", "write"} <= {stage for stage, _, _ in heard}
        assert here.model is not None and there.model is not None and here.model.content == there.model.content
        here.model.save(tmp_path / "liver.fewshot")
        warm = fss.propagate(volume, labels, **OPTIONS, warm_start=tmp_path / "liver.fewshot", background=worker)
        assert warm.report["training"]["warm"] and not warm.warnings


def test_what_was_odd_about_a_volume_is_told(phantom: Any, warm_client: Any) -> None:
    volume, labels, _ = phantom
    odd = volume.voxels.astype(np.float32)
    odd[0, 0, 0] = np.nan
    with warm_client as worker:
        for background in (False, worker):
            told = fss.propagate((odd, volume.geometry), labels, **OPTIONS, background=background).warnings
            assert sum("NaN or infinite" in warning for warning in told) == 1, told


def test_a_model_is_applied(phantom: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, labels, _ = phantom
    options = {"device": "cpu", "no_cache": True}
    learned = fss.propagate(volume, labels, method="pixel-classifier", range=(5, 5), **options).model
    assert learned is not None
    applied = fss.apply(learned, volume, range=(5, 6), **options)
    assert applied.model is None and [row["index"] for row in applied.report["slices"]] == [5, 6]
    assert any("rough" in warning for warning in applied.warnings)


@pytest.mark.parametrize("background", [False, True])
def test_a_run_can_be_cancelled(phantom: Any, background: bool) -> None:
    volume, labels, _ = phantom
    cancel = threading.Event()
    options = {**OPTIONS, "background": background, "cancel": cancel}
    with pytest.raises(fss.CancelledError):
        fss.propagate(volume, labels, **options, progress=lambda *stage: cancel.set())


def test_what_cannot_be_is_refused_with_advice(phantom: Any) -> None:
    volume, labels, _ = phantom
    wrong: list[tuple[Any, Any, dict[str, Any], str]] = [
        (volume.voxels, labels, {}, "not a volume"),
        ((volume.voxels[1:], volume.geometry), labels, {}, "not a volume of"),
        (volume, labels[1:], {}, "shape"),
        (volume, 0 * labels, {}, "no painted voxel"),
        (volume, 7, {}, "not an annotation"),
        (volume, np.ones_like(labels), {}, "labelled everywhere"),
        (volume, labels, {"empty_slices": [k for k in range(12) if k not in (4, 8)]}, "nothing left to predict"),
        (volume, labels, {"empty_of": {"kidney": [5]}}, "no segment “kidney”"),
        (volume, labels, {"empty_of": {"1": (4,)}}, "hold none of"),
        (volume, labels, {"colour": "red"}, "colour"),
        (volume, labels, {"steps": -1}, "steps"),
        (volume, labels, {"warm_start": fss.Model(b"no model at all")}, "not a few-shot model"),
    ]
    for given, annotation, options, message in wrong:
        with pytest.raises(fss.BadInputError, match=message) as refused:
            fss.propagate(given, annotation, **{**OPTIONS, **options})
        assert refused.value.hint


def test_paint_outside_the_window_is_told(phantom: Any) -> None:
    volume, labels, _ = phantom
    chosen = fss.propagate(volume, labels, **OPTIONS, normalisation="window:-1000,-500")
    assert any("outside the window" in warning for warning in chosen.warnings)


def test_a_dicom_series_keeps_its_modality_in_the_background_and_gets_a_dicom_segmentation(
    phantom: Any, tmp_path: Path, warm_client: Any
) -> None:
    volume, labels, _ = phantom
    voxels = volume.voxels.astype(np.int16)
    series = dicom_files.write_series(tmp_path / "mr", voxels, sop_class=dicom_files.MR, modality="MR")
    here = fss.propagate(series, labels, **OPTIONS)
    there = fss.propagate(series, labels, **OPTIONS, background=warm_client)
    assert "MR" in here.report["normalisation"]["why"] and there.report["normalisation"] == here.report["normalisation"]
    for result in (here, there):
        result.save(tmp_path / "result.dcm")
        saved = place_on(read_segmentation(tmp_path / "result.dcm"), here.segmentation.geometry)[0]
        np.testing.assert_array_equal(saved.layers, here.segmentation.layers)
