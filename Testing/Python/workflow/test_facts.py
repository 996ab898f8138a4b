"""What panel and browser tell of the chosen inputs: the same as `inspect`, without waiting for it."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.core.facts import facts_lines, facts_sentence, volume_facts
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.workflow import PaintedSlice, SceneSegment, SceneVolume, Target
from FewShotSAMLib.workflow import facts as facts_module
from FewShotSAMLib.workflow.facts import InputFacts

TARGET = Target("v", "s")
LABELS = np.zeros((10, 40, 48), np.uint8)


class OneVolume:
    """A scene of one CT, and a segmentation of two segments."""

    def __init__(self) -> None:
        self.read = ct_phantom((10, 40, 48), seed=2)[0]
        self.volumes = {"v": SceneVolume("v", "CT abdomen", self.read.voxels, self.read.geometry)}

    def volume(self, volume_id: str) -> SceneVolume:
        return self.volumes[volume_id]

    def segments(self, target: Target) -> list[SceneSegment]:
        named = enumerate(("liver", "spleen"), start=1)
        return [SceneSegment(f"id{n}", name, (1.0, 0.0, 0.0), LABELS, (0, 0, 0), n) for n, name in named]


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
    said = found(facts, TARGET, 0, [*painted, PaintedSlice(8, ("id1",), ticked=False)])
    assert facts.poll() and not facts.poll(), "the view hears once that there is something to show"
    alone = volume_facts(scene.read) | {"name": "CT abdomen"}
    assert facts_lines(said)[: len(facts_lines(alone))] == facts_lines(alone)
    assert [each["painted_slices"] for each in said["segments"]] == [[3, 4], [4]]
    assert any(line.endswith("liver, 2 painted slices: 3-4") for line in facts_lines(said))
    sentence = facts_sentence(said)
    assert sentence.text.format(*sentence.values).startswith("CT, 48 x 40 x 10, ")
    assert sentence.text.format(*sentence.values).endswith(", window -150..250 (abdomen)")
    nothing = found(facts, TARGET, None, [])
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
    assert facts.look(TARGET, None, []) is None and facts.look(TARGET, 0, []) is None and not facts.poll()
    go_on.set()
    assert found(facts, TARGET, 0, [])["size"] == [48, 40, 10]
    assert len(threads) == 1 and threads[0] is not threading.main_thread()
    scene.volumes["v"] = SceneVolume("v", "CT abdomen", scene.read.voxels * 2, scene.read.geometry, version=1)
    assert found(facts, TARGET, 0, [])["range"][1] == 2 * float(scene.read.voxels.max()), "it was changed"
    assert len(threads) == 2
    assert facts.look(None, None, []) is None


def test_what_the_file_said_counts_and_what_cannot_be_used_says_nothing(tmp_path: Path) -> None:
    scene = OneVolume()
    said = found(InputFacts(scene), TARGET, 0, [], Volume(scene.read.voxels, scene.read.geometry, "x", ("odd",), "MR"))
    assert said["modality"] == {"name": "MR", "why": "DICOM modality MR"} and said["warnings"] == ["odd"]
    flat = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    scene.volumes["v"] = SceneVolume("v", "Nothing", np.zeros((4, 4, 4), np.int16), flat)
    facts = InputFacts(scene)
    facts.look(TARGET, None, [])
    while not facts.poll():
        time.sleep(0.01)
    assert facts.look(TARGET, None, []) is None
