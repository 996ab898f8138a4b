"""Two structures, each painted on different slices: what each contributes, and the result."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.model_file import load_model

LIVER, SPLEEN = (5, 8), (6, 9)


@pytest.fixture
def apart(guided: Any) -> Any:
    """Paints liver and spleen on different slices, in the files of the case."""
    return replace(guided, parameters={**guided.parameters, **guided.painted_as(drawn(guided)), "steps": 0})


def drawn(case: Any) -> Segmentation:
    one, other = keep_slices(case.truth, 0, LIVER, ("liver",)), keep_slices(case.truth, 0, SPLEEN, ("spleen",))
    one.layers[...] += other.layers
    return Segmentation(one.layers, case.truth.geometry, case.truth.segments)


def masks(segmentation: Segmentation) -> dict[str, np.ndarray]:
    return {segment.name: segmentation.mask(segment) for segment in segmentation.segments}


def check_painted(case: Any, result: dict[str, np.ndarray]) -> None:
    right = masks(case.truth)
    for name, own in (("liver", LIVER), ("spleen", SPLEEN)):
        np.testing.assert_array_equal(result[name][list(own)], right[name][list(own)])


def test_each_structure_is_found_on_the_others_slices(apart: Any) -> None:
    report = apart.run()
    result, right = masks(apart.result()), masks(apart.truth)
    assert not (result["liver"] & result["spleen"]).any()
    check_painted(apart, result)
    for name, others, good in (("liver", SPLEEN, 0.85), ("spleen", LIVER, 0.7)):
        assert dice(result[name][list(others)], right[name][list(others)]) > good
    rows = {row["index"]: row for row in report["slices"]}
    assert [rows[index]["origin"] for index in (*LIVER, *SPLEEN)] == ["painted"] * 4
    assert rows[5]["predicted_segments"] == rows[8]["predicted_segments"] == [2] and rows[6]["confidence"] < 1
    assert rows[0] == {"index": 0, "origin": "empty", "confidence": 1.0, "doubtful_pixels": 0.0}
    assert {"liver", "spleen"} == {name for name in right for told in report["warnings"] if f"“{name}” is not" in told}


def test_post_processing_leaves_what_is_painted(apart: Any) -> None:
    apart.run(smooth_mm=8, fill_holes=True, range=[4, 9])
    result = masks(apart.result())
    assert not (result["liver"] & result["spleen"]).any()
    check_painted(apart, result)


def test_beyond_the_range_painted_slices_are_as_painted(apart: Any) -> None:
    rows = {row["index"]: row for row in apart.run(range=[7, 7])["slices"]}
    assert set(rows) == {0, 7, *LIVER, *SPLEEN}
    assert all(rows[index]["origin"] == "painted" for index in (*LIVER, *SPLEEN))
    assert not any("predicted_segments" in row for row in rows.values())
    assert not masks(apart.result())["spleen"][list(LIVER)].any()


@pytest.mark.usefixtures("full_size")
def test_the_slices_of_one_teach_it_alone(apart: Any) -> None:
    """Far from the spleen's slices, the liver's result is as if these had not been painted."""
    apart.run()
    together = masks(apart.result())["liver"][7]
    alone = keep_slices(apart.truth, 0, LIVER, ("liver",))
    apart.run(**apart.painted_as(alone, "alone.seg.nrrd"))
    assert dice(masks(apart.result())["liver"][7], together) > 0.98


@pytest.mark.parametrize("method", ["few-shot", "autosam-cnn", "lora", "cheap-lunch", "pixel-classifier"])
def test_every_kind_of_method_learns_from_them(apart: Any, method: str) -> None:
    report = apart.run(method=method, steps=0 if method == "pixel-classifier" else 4, range=[5, 8])
    assert np.isfinite(report["training"]["loss"]) and report["training"]["loss"] < 20
    result, right = masks(apart.result()), masks(apart.truth)
    check_painted(apart, result)
    if method == "pixel-classifier":
        assert min(dice(result[name][7], right[name][7]) for name in right) > 0.4


def test_a_model_keeps_what_is_known_of_each(apart: Any) -> None:
    path = apart.folder / "m.fewshot"
    context = JobContext()
    apart.run(context, save_model=str(path), range=[7, 7])
    shown = load_model(path).state.shown
    assert shown is not None and shown.known is not None
    assert shown.known.tolist() == [[True, True], [True, False], [False, True], [True, False], [False, True]]
    assert shown.numbers(2) == [0, 2, 4]
    assert np.isfinite(apart.apply(path, context, range=[7, 7])["mean_confidence"])


def test_without_unknown_slices_a_model_stays_as_earlier_versions_read_it(guided: Any) -> None:
    guided.run(steps=0, save_model=str(guided.folder / "m.fewshot"), model_as_is=True, range=[5, 5])
    shown = load_model(guided.folder / "m.fewshot").state.shown
    assert shown is not None and shown.known is None
    assert b'\\"version\\": 1' in (guided.folder / "m.fewshot").read_bytes()[:4000]


def test_none_of_a_segment_can_be_said_of_a_slice(apart: Any) -> None:
    report = apart.run(empty_of={"spleen": [8], "liver": [9]})
    assert not masks(apart.result())["spleen"][8].any() and not masks(apart.result())["liver"][9].any()
    assert masks(apart.result())["spleen"][5].any() and masks(apart.result())["liver"][6].any()
    assert [segment["empty_slices"] for segment in report["segments"]] == [[9], [8]]
    rows = {row["index"]: row for row in report["slices"]}
    assert "predicted_segments" not in rows[8] and rows[8]["confidence"] == 1.0 and "predicted_segments" in rows[6]
    with pytest.raises(BadInputError, match="no segment “kidney”"):
        apart.run(empty_of={"kidney": [8]})
