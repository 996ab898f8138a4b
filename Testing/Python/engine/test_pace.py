"""The time estimate of a run, from what earlier runs took."""

import time
from pathlib import Path

import pytest
import torch

from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.pace import Pace, Work, segment_factor
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_to_paint
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import write_segmentation
from FewShotSAMLib.engine.estimates import Speed, encoder_estimate
from FewShotSAMLib.engine.pace import FILE_NAME, pace_of, remember, remembered
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.sam.registry import get_spec
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.workflow import Machine, Settings
from FewShotSAMLib.workflow.cost import run_seconds

SECONDS = {"read": 1.0, "load": 2.0, "encode": 4.0, "priors": 1.0, "learn": 6.0, "predict": 2.0, "total": 16.0}
BUNDLED, SPEED = get_spec("tiny").architecture, Speed(1e11, 0.03)
WORK = Work(asked=(1,) * 20, encoded=23)


def pace(work: Work = WORK, name: str = "few-shot", **seconds: float) -> dict:
    encoder = {"name": "tiny", "device": "cpu"}
    return pace_of({"encoder": encoder, "seconds": SECONDS | seconds}, work, get_method(name).load(), BUNDLED)


def test_the_pace_of_a_run() -> None:
    found = pace()
    assert found["learning"] == 16 - 3 - 6 and found["predicting"] == 0.1
    assert found["encoding"] == pytest.approx(4 / 23, abs=1e-4)
    assert found["continuing"] == 3, "a third of the steps"
    warm = pace(Work((1,) * 20, 1, continues=True))
    assert warm["continuing"] == 7 and "learning" not in warm and "encoding" not in warm
    assert "predicting" not in pace(Work((1, 1), 23))
    assert pace(augment=2.0, name="autosam-vit")["continuing"] < 7 - 2, "no copies are made after a warm start"


def test_several_segments_take_longer_where_each_is_asked_for() -> None:
    three = Work((3,) * 20, 23, segments=3)
    assert pace(three)["learning"] == 7, "one network learns all of them"
    assert 0.1 / 3 < pace(three)["predicting"] < 0.05
    assert pace(three, "autosam-vit")["predicting"] == 0.1


class Computer:
    """Takes as long as it is told to, and reports the time as a run's report does."""

    true = Pace(12.0, 4.8, 0.03, 0.17, segment_share=0.85)
    priors = 2.4

    def run(self, work: Work) -> tuple[float, dict]:
        share, encode = self.true.segment_share, self.true.encoding * work.encoded
        predict = self.true.predicting * sum(segment_factor(count, share) for count in work.asked)
        total = self.true.seconds(work) + 0.3
        tuned = total - 0.3 - encode - predict - self.priors
        seconds = {"encode": encode, "predict": predict, "learn": tuned, "priors": self.priors, "read": 0.3}
        return total, pace(work, **dict.fromkeys(SECONDS, 0.0) | seconds | {"total": total})


def test_every_run_after_the_first_is_told_within_a_factor_of_one_and_a_half(tmp_path: Path) -> None:
    """Cold, warm, warm with one slice more, fewer and more segments, and cold again on a later day."""
    _, first = Computer().run(Work((3,) * 30 + (1,) * 5, 40, 3))
    remember(first, tmp_path)
    runs = [
        Work((3,) * 30 + (1,) * 5, 0, 3, continues=True),
        Work((3,) * 29 + (1,) * 5, 1, 3, continues=True),
        Work((1,) * 20, 24, 1),
        Work((1,) * 20, 0, 1, continues=True),
        Work((5,) * 60, 64, 5),
    ]
    for work in runs:
        estimate = encoder_estimate(get_spec("tiny"), Speed(1e11, 0.3), torch.device("cpu"), remembered(tmp_path))
        told = Pace(**estimate["paces"]["few-shot"]).seconds(work)
        taken, found = Computer().run(work)
        assert taken / 1.5 < told < taken * 1.5, work
        remember(found, tmp_path)


def test_it_is_remembered_for_method_encoder_and_device(tmp_path: Path) -> None:
    remember(pace() | {"learning": 99.0}, tmp_path / "cache")
    remember(pace() | {"method": "lora"}, tmp_path / "cache")
    remember(pace(), tmp_path / "cache")
    assert len(remembered(tmp_path / "cache")) == 2 and pace() in remembered(tmp_path / "cache")
    warm = pace(Work((1,) * 20, 0, continues=True))
    remember(warm, tmp_path / "cache")
    paces = remembered(tmp_path / "cache")
    assert len(paces) == 2 and pace() | warm in paces, "a warm run says nothing of learning from the start"
    found = Pace(**encoder_estimate(get_spec("tiny"), SPEED, torch.device("cpu"), paces)["paces"]["few-shot"])
    assert found.learning == 7.0 and found.continuing == 7.0 and found.predicting == 0.1
    other = encoder_estimate(get_spec("vit_b"), SPEED, torch.device("cpu"), paces)
    assert other == encoder_estimate(get_spec("vit_b"), SPEED, torch.device("cpu"))


@pytest.mark.parametrize("text", ["", "{]", "7", '[{"method": "x"}]', '[{"learning": null}]'])
def test_a_damaged_file_is_no_knowledge(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert remembered(tmp_path) == []


FEWER_STEPS = """
import dataclasses, sys
from FewShotSAMLib.bundled import few_shot
from FewShotSAMLib.worker.server import Server
few_shot.SCHEDULE = dataclasses.replace(few_shot.SCHEDULE, steps=16)
sys.exit(Server().run())
"""
"""A background process whose usual learning is shorter, for the time that a test may take."""


@pytest.mark.quiet
def test_the_estimate_after_a_run_is_within_a_factor_of_one_and_a_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.py").write_text(FEWER_STEPS)
    arguments = [str(tmp_path / "worker.py")]
    monkeypatch.setenv("FEWSHOTSAM_CACHE", str(tmp_path / "cache"))
    volume, truth = ct_phantom((28, 96, 112), seed=3)
    write_image(volume.voxels, volume.geometry, tmp_path / "volume.nrrd")
    mask = truth.mask(next(segment for segment in truth.segments if segment.name == "liver"))
    painted, empty = slices_to_paint(mask, 0, 3), empty_neighbours(mask, 0)
    write_segmentation(keep_slices(truth, 0, painted, ["liver"]), tmp_path / "painted.seg.nrrd")
    names = {"volume": "volume.nrrd", "annotation": "painted.seg.nrrd", "output": "out.seg.nrrd"}
    parameters = {name: str(tmp_path / file) for name, file in names.items()} | {"axis": 0, "empty_slices": empty}
    with WorkerClient(arguments=arguments) as client:
        client.wait(client.request("propagate", {**parameters, "no_cache": True}))
        machine = Machine.from_report(client.wait(client.request("inspect")))
    started = time.monotonic()
    with WorkerClient(arguments=arguments) as client:
        report = client.wait(client.request("propagate", {**parameters, "no_cache": True}))
    took = time.monotonic() - started
    inner = set(range(empty[0] + 1, empty[-1])) - set(painted)
    assert inner <= {each["index"] for each in report["slices"] if each["origin"] == "predicted"}
    work = Work((1,) * len(inner), len(inner) + 5, starts=True)
    assert report["asked"] == sorted(inner)
    estimate = run_seconds(machine, Settings(), work)
    assert estimate is not None and took / 1.5 < estimate < took * 1.5, (estimate, took)
