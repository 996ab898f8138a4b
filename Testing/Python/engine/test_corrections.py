"""Corrections: one more painted slice changes the answer between its neighbours, and nothing else by a single bit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engine.conftest import StopAt

from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.segmentation import Segment, Segmentation, write_segmentation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.corrections import last_run
from FewShotSAMLib.engine.exemplars import _exemplar
from FewShotSAMLib.engine.jobs import save_last_model
from FewShotSAMLib.engine.model_file import load_model

NAMES = ("liver", "spleen")


@pytest.fixture(params=[1.3, 0], ids=["one region", "a region each"])
def finer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.core.region.FINER", request.param)


@pytest.fixture
def run(guided: Any) -> Any:
    """Propagate in one process: maps painted slices and further parameters to report and classes (K, J, I)."""
    context = JobContext()

    def propagate(painted: tuple[int, ...], given: JobContext | None = None, **changes: Any) -> tuple[Any, np.ndarray]:
        write_segmentation(keep_slices(guided.truth, 0, painted, NAMES), guided.folder / "painted.seg.nrrd")
        if given is not None:
            given.state = context.state
        classes = guided.folder / "classes.npy"
        report = guided.run(given or context, **{"steps": 0, "classes": str(classes), "correct": True, **changes})
        return report, np.load(classes)

    propagate.context = context  # type: ignore[attr-defined]
    return propagate


@pytest.mark.usefixtures("finer")
def test_a_correction_changes_nothing_beyond_its_gap(run: Any, guided: Any) -> None:
    first, before = run((2, 5, 9), steps=4)
    assert first["corrected"] is None and first["can_be_corrected"]
    second, after = run((2, 5, 7, 9), steps=4)
    assert second["corrected"] == [6, 8] and second["encoder"]["slices_encoded"] == 0
    assert second["training"]["steps"] == 0 and second["pace"] is None
    differs = np.flatnonzero((before != after).any((1, 2)))
    assert set(differs) <= {6, 7, 8} and 7 in differs
    assert {row["index"] for row in second["slices"]} == {row["index"] for row in first["slices"]}
    third, back = run((2, 5, 9), steps=4)
    assert third["corrected"] == [6, 7, 8] and np.array_equal(back, before), "taken back, bit by bit"
    same, again = run((2, 5, 9), steps=4)
    assert same["corrected"] == [] and np.array_equal(again, before)


def test_between_its_neighbours_a_correction_answers_as_a_whole_run_would(run: Any) -> None:
    run((2, 5, 9))
    _, corrected = run((2, 5, 7, 9))
    report, whole = run((2, 5, 7, 9), correct=False)
    assert report["corrected"] is None
    assert np.array_equal(corrected[6:9], whole[6:9])
    fresh, (_, alone) = JobContext(), run((2, 5, 7, 9), JobContext(), correct=False)
    assert last_run(fresh) is None and np.array_equal(alone, whole), "what came before leaves no trace"


@pytest.mark.usefixtures("finer")
def test_a_correction_uses_the_other_exemplars_again(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()

    def counted(index: int, *rest: Any) -> Any:
        made.append(index)
        return _exemplar(index, *rest)

    monkeypatch.setattr("FewShotSAMLib.engine.exemplars._exemplar", counted)
    run((2, 5, 9))
    first, made[:] = set(made), []
    run((2, 5, 7, 9))
    assert first >= {5, 9} and set(made) == {7}
    made.clear()
    run((2, 5, 9))
    assert not made


@pytest.mark.usefixtures("finer")
def test_a_slice_painted_otherwise_teaches_what_it_shows_now(guided: Any) -> None:
    """Two segments overlap; one or both lose the overlap on a slice; then another slice is painted."""
    shapes = (slice(8, 28), slice(8, 30)), (slice(24, 34), slice(12, 24))
    segments = tuple(Segment(name, name, (1.0, 0.0, 0.0), 1, layer) for layer, name in enumerate("ab"))
    context = JobContext()

    def answered(painted: tuple[int, ...], loses: tuple[int, ...]) -> list[np.ndarray]:
        """Return the classes of the process that may correct, and those of a whole run in another process."""
        labels = np.zeros((2, *guided.volume.geometry.shape), np.uint8)
        for layer, shape in enumerate(shapes):
            labels[layer, list(painted), *shape] = 1
        labels[list(loses), 5, 24:28, 12:24] = 0
        write_segmentation(Segmentation(labels, guided.volume.geometry, segments), guided.folder / "painted.seg.nrrd")
        found = []
        for given in (context, JobContext()):
            guided.run(given, steps=0, correct=True, classes=str(guided.folder / "classes.npy"), empty_slices=[])
            found.append(np.load(guided.folder / "classes.npy"))
        return found

    first, repeated = answered((2, 5, 9), ())
    assert np.array_equal(first, repeated)
    begun = dict(context.state)
    for loses in ((0,), (1,), (0, 1)):
        context.state = dict(begun)
        corrected, whole = answered((2, 5, 9), loses)
        assert np.array_equal(corrected[3:9], whole[3:9]) and not np.array_equal(whole, first), loses
        corrected, whole = answered((2, 5, 7, 9), loses)
        assert np.array_equal(corrected[6:9], whole[6:9]), loses


def test_what_is_not_painted_is_asked_wholly(run: Any) -> None:
    run((2, 5, 9))
    before = dict(run.context.state)
    for changes in (
        {"range": [1, 9]},
        {"largest_island": True},
        {"seed": 1},
        {"normalisation": "window:-100,200"},
        {"method": "autosam-linear", "steps": 1},
        {"empty_slices": []},
    ):
        run.context.state = dict(before)
        corrected = run((2, 5, 9), **changes)[0]["corrected"]
        if "empty_slices" in changes:
            assert 0 in corrected, "an end that is no longer declared is open again"
        else:
            assert corrected is None, changes


@pytest.mark.usefixtures("finer")
def test_another_segment_or_volume_is_no_correction(run: Any, guided: Any) -> None:
    run((2, 5, 9))
    one, volume = guided.folder / "one.seg.nrrd", guided.folder / "volume.nrrd"
    fewer = replace(guided.truth, segments=guided.truth.segments[:1])
    write_segmentation(keep_slices(fewer, 0, (2, 5, 9), NAMES[:1]), one)
    assert guided.run(run.context, steps=0, correct=True, annotation=str(one))["corrected"] is None
    run((2, 5, 9))
    volume.write_bytes(volume.read_bytes().replace(b"\n\n", b"\n#\n\n", 1))
    report, _ = run((2, 5, 9))
    assert report["corrected"] is None, "the file changed, and with it perhaps the volume"


def test_a_segment_may_be_renamed_meanwhile(run: Any, guided: Any) -> None:
    """As Slicer does by itself: its segments have a tag that says whether they are being edited."""
    run((2, 5, 9))
    drawn = keep_slices(guided.truth, 0, (2, 5, 7, 9), NAMES)
    tags = {"Segmentation.Status": "inprogress"}
    segments = tuple(replace(each, name=f"{each.name} 2", tags=tags) for each in drawn.segments)
    write_segmentation(replace(drawn, segments=segments), guided.folder / "painted.seg.nrrd")
    report = guided.run(run.context, steps=0, correct=True)
    assert report["corrected"] == [6, 8] and [each["name"] for each in report["segments"]] == ["liver 2", "spleen 2"]


def test_segments_that_did_not_change_keep_their_answers(run: Any, guided: Any) -> None:
    """The spleen is painted on other slices, so that one more slice of the liver leaves its answers unchanged."""
    path, classes = guided.folder / "apart.seg.nrrd", guided.folder / "classes.npy"
    spleen = keep_slices(guided.truth, 0, (6, 8), ("spleen",)).layers
    label = 1 + [segment.name for segment in guided.truth.segments].index("spleen")
    results, answers = [], []
    for slices in ((4, 10), (4, 5, 10)):
        liver = keep_slices(guided.truth, 0, slices, ("liver",)).layers
        write_segmentation(replace(guided.truth, layers=np.maximum(liver, spleen)), path)
        changes = {"annotation": str(path), "classes": str(classes), "empty_slices": [], "correct": True, "steps": 0}
        report = guided.run(run.context, **changes)
        results.append(np.load(classes))
        answers.append({i: row.clone() for i, row in last_run(run.context).learned.predictor._answered.items()})  # type: ignore[union-attr]
    again = report["corrected"]
    assert {6, 7, 8, 9} <= set(again) and not {10, 11} & set(again)
    untouched = [index for index in range(len(results[0])) if index not in {*again, 5}]
    assert np.array_equal(results[0][untouched], results[1][untouched])
    before, after = (each[7] for each in answers)  # in the liver's gap, and in one of the spleen's that is unchanged
    assert torch.equal(before[label], after[label]) and not torch.equal(before[3 - label], after[3 - label])


def test_a_cancelled_correction_leaves_what_there_was(run: Any) -> None:
    _, before = run((2, 5, 9))
    with pytest.raises(CancelledError):
        run((2, 5, 7, 9), StopAt("write"))
    report, after = run((2, 5, 9))
    assert report["corrected"] is not None and np.array_equal(before, after)


def test_the_model_of_a_correction_is_made_when_it_is_wanted(run: Any, guided: Any) -> None:
    path = guided.folder / "m.fewshot"
    with pytest.raises(BadInputError, match="no learned model"):
        save_last_model({"path": str(path)}, run.context)
    run((2, 5, 9), save_model=str(path))
    three = load_model(path)
    path.unlink()
    run((2, 5, 7, 9), save_model=str(path))
    assert not path.exists()
    assert save_last_model({"path": str(path)}, run.context) == {"path": str(path)}
    assert len(load_model(path).state.shown.masks) == len(three.state.shown.masks) + 1  # type: ignore[union-attr]
    assert guided.apply(path)["training"]["registration"]["used"]
    with pytest.raises(BadInputError, match="path"):
        save_last_model({"path": 3}, run.context)
