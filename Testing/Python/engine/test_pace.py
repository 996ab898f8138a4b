"""The estimate of a run: what the runs before took."""

import time
from pathlib import Path

import pytest
import torch

from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_to_paint
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import write_segmentation
from FewShotSAMLib.engine.estimates import Speed, encoder_estimate
from FewShotSAMLib.engine.pace import FILE_NAME, pace_of, remember, remembered
from FewShotSAMLib.sam.registry import get_spec
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.workflow import Machine, Settings
from FewShotSAMLib.workflow.duration import run_seconds

SECONDS = {"read": 1.0, "load": 2.0, "encode": 4.0, "priors": 1.0, "fine-tune": 5.0, "predict": 2.0, "total": 16.0}


def report(warm: bool = False, encoded: int = 23) -> dict:
    encoder = {"name": "tiny", "device": "cpu", "slices_encoded": encoded}
    return {"training": {"method": "few-shot", "warm": warm}, "encoder": encoder, "seconds": SECONDS}


def test_the_pace_of_a_run() -> None:
    pace = pace_of(report(), 20)
    assert pace is not None and pace["training_seconds"] == 16 - 3 - 6 and pace["slice_seconds"] == 0.3
    assert pace_of(report(warm=True), 20) is None, "it learns less"
    assert pace_of(report(encoded=5), 20) is None, "embeddings came from the cache"
    assert pace_of(report(), 2) is None


def test_it_is_remembered_for_method_encoder_and_device(tmp_path: Path) -> None:
    pace = pace_of(report(), 20)
    assert pace is not None
    remember(pace | {"training_seconds": 99.0}, tmp_path / "cache")
    remember(pace | {"method": "lora"}, tmp_path / "cache")
    remember(pace, tmp_path / "cache")
    paces = remembered(tmp_path / "cache")
    assert len(paces) == 2 and pace in paces
    estimate = encoder_estimate(get_spec("tiny"), Speed(1e11, 0.03), torch.device("cpu"), paces)
    assert estimate["training_seconds"]["few-shot"] == 7.0 and estimate["slice_seconds"]["few-shot"] == 0.3
    other = encoder_estimate(get_spec("vit_b"), Speed(1e11, 0.03), torch.device("cpu"), paces)
    assert other == encoder_estimate(get_spec("vit_b"), Speed(1e11, 0.03), torch.device("cpu"))


@pytest.mark.parametrize("text", ["", "{]", "7", '[{"method": "x"}]', '[{"training_seconds": null}]'])
def test_a_damaged_file_is_no_knowledge(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert remembered(tmp_path) == []


@pytest.mark.quiet
def test_the_estimate_after_a_run_is_within_a_factor_of_one_and_a_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWSHOTSAM_CACHE", str(tmp_path / "cache"))
    volume, truth = ct_phantom((28, 96, 112), seed=3)
    write_image(volume.voxels, volume.geometry, tmp_path / "volume.nrrd")
    mask = truth.mask(next(segment for segment in truth.segments if segment.name == "liver"))
    painted, empty = slices_to_paint(mask, 0, 3), empty_neighbours(mask, 0)
    write_segmentation(keep_slices(truth, 0, painted, ["liver"]), tmp_path / "painted.seg.nrrd")
    names = {"volume": "volume.nrrd", "annotation": "painted.seg.nrrd", "output": "out.seg.nrrd"}
    parameters = {name: str(tmp_path / file) for name, file in names.items()} | {"axis": 0, "empty_slices": empty}
    took = []
    for _ in range(2):
        with WorkerClient() as client:
            machine = Machine.from_report(client.wait(client.request("inspect")))
        started = time.monotonic()
        with WorkerClient() as client:
            report = client.wait(client.request("propagate", {**parameters, "no_cache": True}))
        took.append(time.monotonic() - started)
    inner = set(range(empty[0] + 1, empty[-1])) - set(painted)
    assert inner <= {each["index"] for each in report["slices"] if each["origin"] == "predicted"}
    estimate = run_seconds(machine, Settings(), len(inner))
    assert estimate is not None and took[1] / 1.5 < estimate < took[1] * 1.5, (estimate, took)
