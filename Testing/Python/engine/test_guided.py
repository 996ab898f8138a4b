"""Jobs on the bundled encoder, whose decoder is guided by shape priors."""

import threading
from typing import Any

import numpy as np
import pytest
from engine.conftest import Heard

from FewShotSAMLib.bundled import few_shot, fusion_head
from FewShotSAMLib.core import atlas
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.model_file import load_model
from FewShotSAMLib.methods.interface import Schedule, Training


def liver_dice(case: Any, name: str, slices: list[int]) -> float:
    found, truth = (s.mask(s.segments[0])[slices] for s in (case.result(name), case.truth))
    return dice(found, truth)


def test_the_first_answer_needs_no_training(guided: Any) -> None:
    report = guided.run(steps=0)
    assert report["training"]["steps"] == 0 and report["encoder"]["name"] == "tiny"
    assert liver_dice(guided, "result.seg.nrrd", [5, 6, 7]) > 0.85
    guided.check_known_slices()


def test_what_is_learned_replaces_the_first_answer(guided: Any) -> None:
    context, first = Heard(), guided.run(steps=0)["slices"]
    report, stages = guided.run(context, steps=12), context.stages
    assert report["training"]["steps"] == 12 and report["slices"] != first
    order = list(dict.fromkeys(stage for stage in stages if stage in ("predict", "learn")))
    assert order == ["predict", "learn"] and stages[::-1].index("predict") < stages[::-1].index("learn")
    assert liver_dice(guided, "result.seg.nrrd", [5, 6, 7]) > 0.85


def test_the_first_answer_can_be_taken_as_it_is(guided: Any) -> None:
    instant = guided.run(steps=0)
    expected = guided.result().layers
    enough = threading.Event()
    context = JobContext(
        lambda kind, fields: enough.set() if fields.get("stage") == "learn" and fields["done"] else None,
        enough=enough,
        clock=iter(range(10**9)).__next__,
    )
    report = guided.run(context, steps=40)
    assert report["training"]["steps"] == 0 and report["slices"] == instant["slices"] and report["pace"] is None
    np.testing.assert_array_equal(guided.result().layers, expected)


def test_what_was_learned_is_gone_on_from(guided: Any) -> None:
    model = str(guided.folder / "organs.fewshot")
    guided.run(save_model=model, steps=4, range=[5, 7])
    state = load_model(guided.folder / "organs.fewshot").state
    assert any(name.startswith("network.") for name in state.tensors)
    guided.run(save_model=str(guided.folder / "again.fewshot"), warm_start=model, steps=2, range=[5, 7])
    again = load_model(guided.folder / "again.fewshot").state.tensors
    moved = max(float((again[n] - t).abs().max()) for n, t in state.tensors.items() if ".down." in n)
    assert 0 < moved < 0.05


def test_the_same_seed_gives_the_same_result(guided: Any) -> None:
    first, second = (guided.run(seed=5, range=[5, 7])["slices"] for _ in range(2))
    assert first == second


def test_a_correction_keeps_the_region_and_encodes_nothing(guided: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "WARM_STEPS", 4)
    model = str(guided.folder / "organs.fewshot")
    context = JobContext()
    guided.run(context, save_model=model, range=[5, 7])
    more = keep_slices(guided.truth, 0, (4, 6, 8), ("liver", "spleen"))
    report = guided.run(context, **guided.painted_as(more), range=[5, 7], steps=None, warm_start=model)
    assert report["encoder"]["slices_encoded"] == 0
    assert report["training"]["warm"] and report["training"]["steps"] == 4, "as many as usual"
    result = guided.result()
    np.testing.assert_array_equal(result.layers[0, 6], more.layers[0, 6])


def test_another_volume_is_registered(guided: Any) -> None:
    model = str(guided.folder / "organs.fewshot")
    guided.run(save_model=model, steps=0)
    context = Heard()
    report = guided.apply(model, context)
    assert report["training"]["registration"]["used"] and not report["warnings"]
    assert "register" in context.stages and "adapt" not in context.stages
    assert report["encoder"]["slices_encoded"] == 0
    assert guided.result("again.seg.nrrd").geometry.is_same_as(guided.volume.geometry)
    assert liver_dice(guided, "again.seg.nrrd", list(range(3, 10))) > 0.85
    assert 0 < report["mean_confidence"] <= 1


def test_a_volume_that_is_not_alike_is_told_and_asked_about(guided: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "ALIKE", 1.1)
    model = str(guided.folder / "organs.fewshot")
    guided.run(save_model=model, steps=0)
    report = guided.apply(model, cache=str(guided.folder / "cache"))
    assert not report["training"]["registration"]["used"] and report["encoder"]["slices_encoded"] > 0
    assert any("does not resemble" in warning for warning in report["warnings"])


@pytest.mark.timeout(900)  # half a minute of one core
def test_a_model_without_the_image_segments_another_volume(guided: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_head, "FOREIGN_TRAINING", Training(Schedule(steps=40, learning_rate=1e-3)))
    model = str(guided.folder / "organs.fewshot")
    liver = guided.painted_as(keep_slices(guided.truth, 0, guided.painted, ("liver",)))
    first, second, third = (Heard() for _ in range(3))  # each in a separate process
    how = {**liver, "steps": 0, "range": [5, 6], "leave_out_image": True}
    guided.run(first, save_model=model, **how)
    assert "adapt" in first.stages and load_model(guided.folder / "organs.fewshot").atlases == ()
    report = guided.apply(model, second)
    assert report["encoder"]["name"] == "tiny" and not report["warnings"]
    assert (found := liver_dice(guided, "again.seg.nrrd", list(range(3, 10)))) > 0.2, found
    layers = guided.result("again.seg.nrrd").layers
    guided.apply(model, third)
    assert "predict" in third.stages
    assert "adapt" not in second.stages + third.stages, "what it learned for other volumes is in its file"
    assert (guided.result("again.seg.nrrd").layers == layers).all()


def test_what_a_file_of_an_earlier_version_lacks_is_learned_at_first_use_and_the_same(guided: Any) -> None:
    """Once per process; two steps yield no segment, but a different doubt for each slice."""
    model, both = str(guided.folder / "organs.fewshot"), Heard()
    how = {"save_model": model, "steps": 0, "range": [5, 6], "leave_out_image": True}
    guided.run(**how)
    first = guided.apply(model)["slices"]
    assert len({row["doubtful_pixels"] for row in first}) > len(first) // 2
    guided.run(**how, model_as_is=True)
    for adapts in (True, False):
        both.stages.clear()
        assert guided.apply(model, both)["slices"] == first
        assert ("adapt" in both.stages) == adapts


def test_one_painted_slice_is_enough(guided: Any) -> None:
    single = keep_slices(guided.truth, 0, (6,), ("liver", "spleen"))
    report = guided.run(**guided.painted_as(single), empty_slices=[], range=[5, 7], steps=None)
    assert report["training"]["steps"] == 0, "a network learns too little from one"
    assert liver_dice(guided, "result.seg.nrrd", [5, 7]) > 0.7
