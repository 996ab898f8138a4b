"""Jobs on the bundled encoder, whose decoder is guided by shape priors."""

from typing import Any

import numpy as np
import pytest
from engine.conftest import StopAt

from FewShotSAMLib.bundled import fusion_head
from FewShotSAMLib.core.errors import CancelledError
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.jobs import apply
from FewShotSAMLib.methods.interface import Schedule, Training


def liver_dice(case: Any, name: str, slices: list[int]) -> float:
    result = read_segmentation(case.folder / name)
    found, truth = (s.mask(s.segments[0])[slices] for s in (result, case.truth))
    return dice(found, truth)


def test_the_first_answer_needs_no_training(guided: Any) -> None:
    report = guided.run(steps=0)
    assert report["training"]["steps"] == 0 and report["encoder"]["name"] == "tiny"
    assert liver_dice(guided, "result.seg.nrrd", [5, 6, 7]) > 0.85
    result = read_segmentation(guided.folder / "result.seg.nrrd")
    known = [*guided.painted, *guided.empty]
    np.testing.assert_array_equal(result.layers[:, known], guided.drawn.layers[:, known])


def test_the_same_seed_gives_the_same_result(guided: Any) -> None:
    first, second = (guided.run(seed=5, range=[5, 7])["slices"] for _ in range(2))
    assert first == second


def test_a_correction_keeps_the_region_and_encodes_nothing(guided: Any) -> None:
    model = str(guided.folder / "organs.fewshot")
    context = JobContext()
    guided.run(context, save_model=model, range=[5, 7])
    more = keep_slices(guided.truth, 0, (4, 6, 8), ("liver", "spleen"))
    write_segmentation(more, guided.folder / "more.seg.nrrd")
    options = {"annotation": str(guided.folder / "more.seg.nrrd"), "range": [5, 7], "steps": None}
    report = guided.run(context, **options, warm_start=model)
    assert report["encoder"]["slices_encoded"] == 0
    assert report["training"]["warm"] and report["training"]["steps"] > 0
    result = read_segmentation(guided.folder / "result.seg.nrrd")
    np.testing.assert_array_equal(result.layers[0, 6], more.layers[0, 6])


def test_a_model_segments_another_volume(guided: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_head, "FOREIGN_TRAINING", Training(Schedule(steps=80, learning_rate=1e-3)))
    model = str(guided.folder / "organs.fewshot")
    guided.run(save_model=model, range=[6, 6])
    output = guided.folder / "other.seg.nrrd"
    parameters = {"model": model, "volume": guided.parameters["volume"], "output": str(output), "device": "cpu"}
    stages: list[str] = []
    context = JobContext(lambda kind, fields: stages.append(fields.get("stage", "")))
    report = apply({**parameters, "no_cache": True}, context)
    assert report["encoder"]["name"] == "tiny" and not report["warnings"]
    assert read_segmentation(output).geometry.is_same_as(guided.volume.geometry)
    assert liver_dice(guided, "other.seg.nrrd", list(range(3, 10))) > 0.2
    first = read_segmentation(output).layers
    assert "fine-tune" in stages
    stages.clear()
    apply({**parameters, "no_cache": True}, context)
    assert "fine-tune" not in stages, "for the next volume it has learned already"
    assert (read_segmentation(output).layers == first).all()


def test_one_painted_slice_is_enough(guided: Any) -> None:
    single = keep_slices(guided.truth, 0, (6,), ("liver", "spleen"))
    write_segmentation(single, guided.folder / "single.seg.nrrd")
    report = guided.run(annotation=str(guided.folder / "single.seg.nrrd"), empty_slices=[], range=[5, 7], steps=None)
    assert report["training"]["steps"] == 0, "nothing is left to learn from when it is left out"
    assert liver_dice(guided, "result.seg.nrrd", [5, 7]) > 0.7


def test_it_can_be_cancelled_while_shapes_are_compared(guided: Any) -> None:
    before = sorted(guided.folder.iterdir())
    with pytest.raises(CancelledError):
        guided.run(StopAt("priors"))
    assert sorted(guided.folder.iterdir()) == before
