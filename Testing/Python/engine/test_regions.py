"""A small segment far from a large one is predicted as finely as if it were alone, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.jobs import apply, propagate
from FewShotSAMLib.engine.model_file import load_model

SHAPE = (14, 280, 280)
GRID = Geometry(SHAPE[::-1], (0.8, 0.8, 3.0))
PAINTED = (3, 7, 10)
CENTRES = {"organ": ((6.5, 105, 105), (6.3, 84, 70)), "node": ((6.5, 245, 252), (6, 10, 8))}

Run = Callable[..., tuple[dict[str, Any], np.ndarray]]


def truth() -> Segmentation:
    layers = np.zeros((1, *SHAPE), np.uint8)
    grid = np.ogrid[tuple(map(slice, SHAPE))]
    for number, (centre, radii) in enumerate(CENTRES.values(), start=1):
        inside = sum(((at - c) / r) ** 2 for at, c, r in zip(grid, centre, radii, strict=True)) < 1
        layers[0][inside] = number
    segments = (Segment(name, name, (1.0, 0.5 * n, 0.0), n + 1) for n, name in enumerate(CENTRES))
    return Segmentation(layers, GRID, tuple(segments))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Propagate in one process: maps painted slices and further parameters to report and classes (K, J, I)."""
    image = np.random.default_rng(0).normal(0, 15, SHAPE)
    image += np.array([-60, 70, 110])[truth().layers[0]]
    write_image(image.astype(np.int16), GRID, tmp_path / "volume.nrrd")
    context = JobContext()

    def called(painted: tuple[int, ...], **changes: Any) -> tuple[dict[str, Any], np.ndarray]:
        write_segmentation(keep_slices(truth(), 0, painted, list(CENTRES)), tmp_path / "painted.seg.nrrd")
        files = {"volume": "volume.nrrd", "annotation": "painted.seg.nrrd", "output": "out.seg.nrrd", "cache": "cache"}
        paths = {name: str(tmp_path / file) for name, file in files.items()}
        given = {"empty_slices": [0, 13], "encoder": "tiny", "steps": 0, "correct": True, "device": "cpu"}
        given["normalisation"] = "window:-150,200"
        report = propagate({**paths, **given, "classes": str(tmp_path / "classes.npy"), **changes}, context)
        return report, np.load(tmp_path / "classes.npy")

    return called


def test_a_small_segment_beside_a_large_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, rest = truth().layers[0], [index for index in range(SHAPE[0]) if index not in PAINTED]
    _, found = run(PAINTED)
    monkeypatch.setattr("FewShotSAMLib.core.region.FINER", np.inf)
    _, coarse = run(PAINTED, correct=False)
    for label in (1, 2):
        fine, one = (dice(each[rest] == label, wanted[rest] == label) for each in (found, coarse))
        assert fine > 0.94
        assert label == 1 or fine > one + 0.02
    for index in PAINTED:
        assert np.array_equal(found[index], wanted[index])


def test_a_region_is_looked_at_where_its_segments_can_be(run: Run) -> None:
    """The node is declared to end before the last slices, so nothing is encoded for it there."""
    report, _ = run(PAINTED)
    fewer, found = run(PAINTED, empty_of={"node": [11, 12]})
    assert report["encoder"]["slices_encoded"] > SHAPE[0], "in both regions"
    assert fewer["encoder"]["slices_encoded"] == 0 and not (found[11:] == 2).any()


def test_a_correction_changes_nothing_beyond_its_gap(run: Run) -> None:
    _, before = run(PAINTED)
    report, after = run((3, 5, 7, 10))
    assert report["corrected"] == [4, 6] and report["encoder"]["slices_encoded"] == 0
    differs = set(np.flatnonzero((before != after).any((1, 2))))
    assert differs and differs <= {4, 5, 6}
    report, whole = run((3, 5, 7, 10), correct=False)
    assert report["corrected"] is None and np.array_equal(whole[4:7], after[4:7])


def test_a_correction_needs_no_encoder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice painted where the node was not searched for says nothing new about it."""
    monkeypatch.setitem(CENTRES, "node", ((9.5, 245, 252), (2.4, 10, 8)))
    report, before = run((2, 7, 9, 12))
    assert report["encoder"]["slices_encoded"] == SHAPE[0] + len(range(7, 13)), "the node's are those around it"
    for painted, asked in (((2, 4, 7, 9, 12), [3, 5, 6]), ((2, 4, 7, 9, 10, 12), [11])):
        report, after = run(painted)
        assert report["corrected"] == asked and report["encoder"]["slices_encoded"] == 0
        assert set(np.flatnonzero((before != after).any((1, 2)))) <= {*asked, *painted}
        before = after
    _, whole = run(painted, correct=False)
    assert np.array_equal(whole[10:12], after[10:12])


def test_a_window_that_was_chosen_by_what_is_painted_stays(run: Run) -> None:
    """Otherwise it would move with each painted slice, and corrections would be impossible."""
    first, _ = run((3, 10), normalisation=None)
    second, _ = run((3, 5, 10), normalisation=None)
    assert second["corrected"] == [4, 6, 7, 8, 9]
    fresh, _ = run((3, 5, 10), normalisation=None, correct=False)
    assert first["normalisation"] == second["normalisation"] != fresh["normalisation"]


def test_each_region_learns_and_the_model_holds_all(run: Run, tmp_path: Path) -> None:
    model, out = tmp_path / "m.fewshot", tmp_path / "applied.seg.nrrd"
    report, _ = run(PAINTED, steps=3, save_model=str(model))
    assert report["training"]["steps"] == 6 and np.isfinite(report["training"]["loss"])
    assert [segment.name for segment in load_model(model).segments] == list(CENTRES)
    again, _ = run(PAINTED, steps=2, warm_start=str(model), correct=False)
    assert again["training"]["warm"]
    files = {"model": str(model), "volume": str(tmp_path / "volume.nrrd"), "output": str(out)}
    apply({**files, "no_cache": True, "device": "cpu"}, JobContext())
    found, wanted = read_segmentation(out), truth()
    for mine, own in zip(found.segments, wanted.segments, strict=True):
        assert dice(found.mask(mine), wanted.mask(own)) > 0.8


def test_the_first_answer_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the user takes it while the second region's networks learn, those of neither are used, in corrections too."""
    _, before = run(PAINTED)
    asked = iter([False] * 4)
    monkeypatch.setattr(JobContext, "is_enough", lambda context: next(asked, True))
    report, same = run(PAINTED, steps=3, correct=False)
    assert report["training"]["steps"] == 3 and np.array_equal(same, before)
