"""What panel and browser show about the chosen inputs: the same as `inspect`, without waiting for it."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.core.facts import facts_lines, facts_sentence, segmentation_facts, volume_facts
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.workflow import PaintedSlice, SceneSegment, SceneVolume, Target
from FewShotSAMLib.workflow import facts as facts_module
from FewShotSAMLib.workflow.facts import InputFacts
from FewShotSAMLib.workflow.notes import Notes
from FewShotSAMLib.workflow.painted_slices import PaintedState, find_painted_slices

TARGET = Target("v", "s")
LABELS = np.zeros((10, 40, 48), np.uint8)
NOTHING = PaintedState(None, ())


class OneVolume:
    """A scene of one CT, and a segmentation with two segments."""

    def __init__(self) -> None:
        self.read = ct_phantom((10, 40, 48), seed=2)[0]
        self.volumes = {"v": SceneVolume("v", "CT abdomen", self.read.voxels, self.read.geometry)}
        self.labels = LABELS

    def volume(self, volume_id: str) -> SceneVolume:
        return self.volumes[volume_id]

    def segments(self, target: Target) -> list[SceneSegment]:
        named = enumerate(("liver", "spleen"), start=1)
        return [SceneSegment(f"id{n}", name, (1.0, 0.0, 0.0), self.labels, (0, 0, 0), n) for n, name in named]


def found(facts: InputFacts, *of: object) -> dict:
    end = time.monotonic() + 60
    while (said := facts.look(*of)) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return said


def test_they_are_those_of_inspect_and_who_painted_what_where() -> None:
    scene, painted = (
        OneVolume(),
        [PaintedSlice(3, ("id1",)), PaintedSlice(4, ("id1", "id2")), PaintedSlice(7, (), True, True)],
    )
    facts = InputFacts(scene)
    said = found(facts, TARGET, PaintedState(0, (*painted, PaintedSlice(8, ("id1",), ticked=False))))
    assert facts.poll() and not facts.poll(), "the view hears once that there is something to show"
    alone = volume_facts(scene.read) | {"name": "CT abdomen"}
    assert facts_lines(said)[: len(facts_lines(alone))] == facts_lines(alone)
    assert [each["painted_slices"] for each in said["segments"]] == [[3, 4], [4]]
    assert any(line.endswith("liver, 2 painted slices: 3-4") for line in facts_lines(said))
    sentence = facts_sentence(said)
    assert sentence.text.format(*sentence.values).startswith("CT, 48 x 40 x 10, ")
    assert sentence.text.format(*sentence.values).endswith(", window -150..250 (abdomen)")
    nothing = found(facts, TARGET, NOTHING)
    assert any("no painted slices" in line for line in facts_lines(nothing))


def test_nobody_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, go_on = OneVolume(), threading.Event()
    threads: list[threading.Thread] = []

    def slow(volume: Volume) -> dict:
        threads.append(threading.current_thread())
        go_on.wait(60)
        return volume_facts(volume)

    monkeypatch.setattr(facts_module, "volume_facts", slow)
    facts = InputFacts(scene)
    assert facts.look(TARGET, NOTHING) is None and facts.look(TARGET, PaintedState(0, ())) is None and not facts.poll()
    go_on.set()
    assert found(facts, TARGET, PaintedState(0, ()))["size"] == [48, 40, 10]
    assert len(threads) == 1 and threads[0] is not threading.main_thread()
    scene.volumes["v"] = SceneVolume("v", "CT abdomen", scene.read.voxels * 2, scene.read.geometry, version=1)
    assert found(facts, TARGET, PaintedState(0, ()))["range"][1] == 2 * float(scene.read.voxels.max()), "it was changed"
    assert len(threads) == 2
    assert facts.look(None, NOTHING) is None


def test_what_the_file_said_counts_and_what_cannot_be_used_says_nothing(tmp_path: Path) -> None:
    scene = OneVolume()
    said = found(
        InputFacts(scene),
        TARGET,
        PaintedState(0, ()),
        Volume(scene.read.voxels, scene.read.geometry, "x", ("odd",), "MR"),
    )
    assert said["modality"] == {"name": "MR", "why": "DICOM modality MR"} and said["warnings"] == ["odd"]
    flat = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    scene.volumes["v"] = SceneVolume("v", "Nothing", np.zeros((4, 4, 4), np.int16), flat)
    facts = InputFacts(scene)
    facts.look(TARGET, NOTHING)
    while not facts.poll():
        time.sleep(0.01)
    assert facts.look(TARGET, NOTHING) is None


def drawn(*places: tuple[int | slice, int | slice, int | slice, int]) -> np.ndarray:
    """Labels: slice, rows, columns and value of what is painted."""
    labels = LABELS.copy()
    for k, j, i, value in places:
        labels[k, j, i] = value
    return labels


WIDE, BOX = slice(5, 30), slice(8, 40)
PAINT = {
    "nothing odd": (drawn(*((k, WIDE, BOX, 1) for k in (2, 5, 8))), ""),
    "everywhere": (drawn((slice(None), slice(None), slice(None), 1)), "labelled everywhere"),
    "everywhere, by two": (
        drawn((slice(None),) * 3 + (1,), (slice(None), WIDE, BOX, 2)), "labelled everywhere"),
    "a stray voxel": (drawn(*((k, WIDE, BOX, 1) for k in (2, 5, 8)), (9, 20, 20, 1)), "smaller on slice 9"),
    "far less than its neighbours": (
        drawn((2, WIDE, BOX, 1), (5, WIDE, slice(8, 12), 1), (8, WIDE, BOX, 1)), "smaller on slice 5"),
    "one after the other": (drawn((slice(0, 9), WIDE, BOX, 1)), "Every slice from 0 to 8"),
    "all of them": (drawn((slice(None), WIDE, BOX, 1)), "nothing left to predict"),
    "one that is not on all": (
        drawn(*((k, WIDE, slice(8, 20), 1) for k in (2, 5, 8)), *((k, WIDE, slice(25, 40), 2) for k in (2, 8))),
        "“spleen” is not painted on slice 5"),
    "along two axes": (
        drawn(*((k, WIDE, BOX, 1) for k in (2, 7)), *((slice(None), j, BOX, 1) for j in (8, 20))), "two axes"),
    "a block": (drawn((slice(2, 5), slice(5, 8), slice(8, 11), 1)), "do not show along which axis"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAINT)
def test_what_is_odd_of_the_paint_is_told_as_of_a_file(name: str) -> None:
    scene, (labels, word) = OneVolume(), PAINT[name]
    scene.labels, geometry = labels, scene.read.geometry
    segments = [Segment(f"id{n}", each, (1.0, 0.0, 0.0), n) for n, each in enumerate(("liver", "spleen"), start=1)]
    file = segmentation_facts(Segmentation(labels[np.newaxis], geometry, tuple(segments)), "a.seg.nrrd")
    paint = find_painted_slices(scene.segments(TARGET), geometry.spacing_kji, Notes())
    said = found(InputFacts(scene), TARGET, paint)
    assert said["warnings"] == file["warnings"] and word in "".join(said["warnings"])
    assert bool(word) == bool(said["warnings"]) and said["axis"] == file["axis"]
    for ours, theirs in zip(said["segments"], file["segments"], strict=True):
        assert {key: theirs[key] for key in ours} == ours


def test_a_slanted_volume_is_told() -> None:
    scene = OneVolume()
    axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.3, 0.0, 0.0, 0.9539392)
    slanted = Geometry(scene.read.geometry.size, scene.read.geometry.spacing, direction=axes)
    scene.volumes["v"] = SceneVolume("v", "CT", scene.read.voxels, slanted)
    (warning,) = found(InputFacts(scene), TARGET, NOTHING)["warnings"]
    assert "not perpendicular" in warning and warning in volume_facts(Volume(scene.read.voxels, slanted))["warnings"]


def test_a_segmentation_slightly_beside_the_volume_is_told() -> None:
    scene = OneVolume()
    beside, there = scene.segments(TARGET)
    scene.segments = lambda target: [there, replace(beside, apart=0.1)]  # type: ignore[method-assign]
    (warning,) = found(InputFacts(scene), TARGET, NOTHING)["warnings"]
    assert "off the volume's by up to 0.1 voxels" in warning
