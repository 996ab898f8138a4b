"""The whole workflow on arrays, with the real background process and the bundled encoder."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from warm import WarmClient
from workflow.conftest import opened

from FewShotSAMLib.workflow import ModelEntry, Settings, State


def test_paint_propagate_apply_correct_and_again(stage) -> None:
    session, scene = stage.session, stage.scene
    assert session.axis == 0 and stage.painted == [7, 12, 17]
    assert session.painted[0].segment_ids == ("a",)
    session.set_empty(2, True)
    session.set_empty(22, True)
    painted, told = scene.labels.copy(), session.work(24)
    stage.propagate()
    preview = scene.previews[-1]
    assert len(told.asked) < 24 - 5, "not 2 and beyond"
    assert session.review.summary.startswith(f"{len(told.asked)} slices")
    assert session.work(24).continues and not session.work(24).encoded and not told.continues
    assert (scene.labels == painted).all(), "before Apply nothing is written"
    assert not preview.shown[[2, 22]].any()
    assert (preview.shown[[7, 12, 17]] == painted[[7, 12, 17]]).all(), "a surface without them would have gaps"
    session.apply()
    assert session.state is State.IDLE and preview.is_removed
    assert stage.messages[-1].text == f"{len(told.asked)} slices were written."
    assert (scene.labels[[7, 12, 17]] == painted[[7, 12, 17]]).all() and not scene.labels[[2, 22]].any()
    held = [index for index in range(24) if index not in (2, 7, 12, 17, 22)]
    predicted, truth = scene.labels[held] == 1, scene.truth[held]
    assert 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()) > 0.8
    assert [each.origin for each in session.review.slices].count("painted") == 3

    stage.settle()
    assert stage.painted == [2, 7, 12, 17, 22], "what was written is not painted"
    advice = session.next_slice()
    assert advice in held
    scene.labels[advice] = 0
    scene.paint(advice)
    scene.labels[advice, 20, 20:24] = 1 - scene.labels[advice, 20, 20:24]
    stage.edited()
    assert advice in stage.painted
    assert session.next_slice() != advice
    corrected = scene.labels[advice].copy()
    before = scene.labels.copy()
    expected = len(session.work(24).asked)
    stage.propagate()
    again = session.review.corrected
    assert again and len(again) == expected and "predicted again" in session.review.summary
    session.apply()
    assert (scene.labels[advice] == corrected).all()
    kept = [index for index in range(24) if index not in again]
    assert (scene.labels[kept] == before[kept]).all(), "not a voxel changes elsewhere"
    session.save_model("corrected")
    stage.until(lambda: bool(session.models.entries()))
    stage.propagate(whole=True)
    assert session.review.corrected is None and "continued from the last run" in session.review.summary
    session.discard()
    stage.settle()
    scene.labels = scene.undo.pop()  # Undo of the second Apply
    stage.edited()
    assert stage.painted == sorted([2, 7, 12, 17, 22, advice])
    assert not stage.errors
    # A user may notice 50 ms; the background process shares this machine's cores.
    assert stage.longest_poll_s < 0.25


def test_what_was_known_of_slices_comes_back_with_the_scene(stage, warm_client: WarmClient, tmp_path: Path) -> None:
    stage.session.set_empty(2, True)
    stage.session.set_ticked(12, False)
    stage.propagate()
    stage.session.apply()
    stage.settle()
    known = stage.session.painted
    # The partial painting on 12 was replaced by the result; a correction there would be complete.
    assert [(each.index, each.ticked) for each in known] == [(2, True), (7, True), (17, True)]
    again = opened(stage.scene, warm_client, tmp_path).session
    assert again.painted == known
    again.close()


def test_a_slice_painted_during_the_run_is_not_overwritten(stage) -> None:
    stage.start()
    stage.scene.paint(10)
    stage.scene.labels[10, :5] = 1
    painted = stage.scene.labels[10].copy()
    stage.session.mark_modified()
    stage.until(lambda: stage.session.state is State.PREVIEW)
    stage.session.apply()
    assert (stage.scene.labels[10] == painted).all()
    assert stage.scene.labels[11].any()


def test_a_range_and_a_hidden_segment(stage) -> None:
    stage.scene.paint(3, value=2)
    stage.scene.visible["b"] = False
    stage.session.mark_modified()
    stage.session.range = (10, 14)
    stage.propagate()
    before = stage.scene.labels.copy()
    stage.session.apply()
    changed = np.flatnonzero((stage.scene.labels != before).any(axis=(1, 2)))
    assert set(changed) <= {10, 11, 13, 14} and len(changed) > 1
    assert (stage.scene.labels[3] == before[3]).all()


def test_propagate_looks_again_although_nothing_was_told(stage) -> None:
    """A segment was hidden: on the slices on which only it is painted, the other is not known to be absent."""
    stage.scene.paint(4, value=2)
    stage.edited()
    assert stage.painted == [4, 7, 12, 17]
    stage.scene.visible["b"] = False
    stage.session.propagate()
    stage.until(lambda: stage.session._run is not None)
    plan = stage.session._run.plan
    stage.session.cancel()
    assert tuple(plan.painted) == (7, 12, 17) and plan.segment_ids == ("a",)


def test_a_result_waits_where_slices_of_another_axis_were_painted_since(stage) -> None:
    session = stage.session
    session.propagate()
    stage.until(lambda: session._run is not None)
    session._requests.drop_run()
    run, session.state = session._run, State.PREVIEW
    run.writing, run.classes, run.predicted = None, stage.scene.truth.astype(np.uint8), (9, 10, 11)
    stage.scene.paint(20, axis=1)
    drawn = stage.scene.labels.copy()
    session.apply()
    assert (stage.scene.labels == drawn).all(), "the strokes are not written over"
    assert "not applied" in stage.errors[-1] and session.state is State.PREVIEW
    session.set_axis(0)
    stage.scene.labels[:, 20] = 0
    session.apply()
    assert session.state is State.IDLE and stage.scene.labels[10].any()


def test_the_first_answer_is_whole_while_more_is_learned(stage) -> None:
    """What is shown includes what is painted, from the first slices on: the 3D surface once had gaps while learning."""
    painted = stage.scene.labels.copy()
    stage.start()
    stage.until(lambda: stage.scene.previews and stage.scene.previews[-1].updates > 0)
    assert stage.session.state is State.RUNNING
    assert (stage.scene.previews[-1].shown[[7, 12, 17]] == painted[[7, 12, 17]]).all()
    stage.session.cancel()
    stage.until(lambda: stage.session.state is State.IDLE)


def test_a_window_that_is_busy_meanwhile_loses_no_run(stage, warm_client: WarmClient, monkeypatch) -> None:
    """All events come at once: two passes showed the same slices, and a preview is deleted before it is read."""
    held: list[dict] = []
    poll = warm_client.poll
    monkeypatch.setattr(warm_client, "poll", lambda timeout_s=0.0: [])
    stage.start()
    request = stage.session._requests.run.request_id
    end = time.monotonic() + 120
    while not any(event["type"] in ("result", "error") for event in held):
        assert time.monotonic() < end
        held += [event for event in poll(0.1) if event.get("id") == request]
    previews = [event["path"] for event in held if event["type"] == "preview"]
    assert len(previews) > 1 and len(set(previews)) == len(previews)
    again = {"type": "preview", "id": request, "path": previews[0] + ".gone", "slices": [1], "axis": 0}
    monkeypatch.setattr(warm_client, "poll", lambda timeout_s=0.0: [again, *held] if held else [])
    stage.session.poll()
    held.clear()
    stage.until(lambda: stage.session.state is not State.RUNNING)
    assert stage.session.state is State.PREVIEW and not stage.errors
    assert stage.scene.previews[-1].updates > 0
    assert not list(stage.session._job_folder.path.glob("preview-*")), "what was shown is deleted"


def test_no_run_writes_to_files_that_are_still_mapped(stage) -> None:
    """Windows does not replace a mapped file: the result in the preview, the few-shot model that is learned from."""
    written: list[dict] = []
    session = stage.session
    submit = session._requests.submit
    session._requests.submit = lambda command, given, *more, **options: (
        written.append(dict(given)),
        submit(command, given, *more, **options),
    )
    for _ in range(2):
        stage.propagate(whole=True)
    first, second = written
    assert second["warm_start"] == first["save_model"], "the second goes on from the first"
    for name in ("classes", "save_model"):
        assert first[name] != second[name]
    session.discard()
    left = {path.name for path in session._job_folder.path.iterdir() if path.is_file()}
    assert left == {"volume.nrrd", "annotation.seg.nrrd", Path(second["save_model"]).name}


def test_a_second_propagate_is_refused_while_one_runs(stage) -> None:
    stage.session.range = (10, 14)
    stage.session.propagate()
    stage.session.propagate()
    assert "under way" in stage.messages[-1].text and "under way" in stage.session.why_not()
    stage.until(lambda: stage.session.state is State.PREVIEW)
    assert len(stage.scene.previews) == 1


def test_an_unexpected_error_is_a_message_once_and_nothing_goes_on(stage) -> None:
    details: list[str] = []
    stage.session.logged.connect(details.append)
    stage.session.propagate()
    stage.until(lambda: stage.session._run is not None)
    step, stage.session._step = stage.session._step, lambda: np.zeros(2)[5]
    for _ in range(3):
        stage.session.poll()
    assert stage.session.state is State.IDLE and stage.session.preview is None
    assert len(stage.errors) == 1 and "IndexError" in stage.errors[0]
    assert len(details) == 1 and "Traceback" in details[0]
    stage.session._step = step
    stage.session.poll()
    stage.session.propagate()
    assert stage.session.state is State.PREPARING


def test_a_thread_works_although_python_is_locked_between_polls(stage) -> None:
    """As by Slicer's event loop: here, only code that waits releases the lock."""
    interval = sys.getswitchinterval()
    stage.session._executor.submit(int).result()  # until the thread has started
    stage.session.mark_modified()
    stage.session._tracker.look_soon(0.0)
    sys.setswitchinterval(100)
    try:
        for _ in range(20):
            stage.session.wait(0.01)
            stage.session.poll()
            if stage.session._tracker.is_up_to_date:
                break
    finally:
        sys.setswitchinterval(interval)
    assert stage.session._tracker.is_up_to_date
    assert not stage.session.wait(0.01)


def test_all_segments_are_exported(stage, tmp_path: Path) -> None:
    stage.scene.visible["b"] = False
    stage.session.export(tmp_path / "all.seg.nrrd")
    assert (tmp_path / "all.seg.nrrd").read_text() == "a b"


def test_why_not(stage) -> None:
    session = stage.session
    for each in session.painted:
        session.set_ticked(each.index, False)
    assert "Tick" in session.why_not()
    session.propagate()
    assert session.state is State.IDLE and "Tick" in stage.messages[-1].text
    stage.scene.labels[:] = 0
    stage.edited()
    assert not session.painted and "Paint" in session.why_not()
    session.set_inputs(None, None)
    assert "Choose" in session.why_not()


def test_slices_painted_along_two_axes_are_told(stage) -> None:
    stage.scene.paint(20, axis=1)
    stage.edited()
    assert "two axes" in stage.session.why_not()
    stage.session.set_axis(0)
    stage.settle()
    assert stage.session.why_not() == "" and stage.session.chosen_axis == 0


def test_a_deleted_slice_is_erased_and_gone(stage) -> None:
    stage.session.delete_slice(12)
    stage.settle()
    assert not stage.scene.labels[12].any()
    assert stage.painted == [7, 17]


def learned(stage, name: str) -> ModelEntry:
    """The library's only model, saved after a run."""
    stage.propagate()
    stage.session.discard()
    stage.session.save_model(name)
    (entry,) = stage.session.models.entries()
    return entry


def test_saving_a_model_and_applying_it(stage) -> None:
    # Completing a few-shot model takes a minute.
    stage.session.settings = Settings(method="autosam-linear", largest_island=True)
    stage.session.save_model("before any run")
    assert "Propagate first" in stage.errors[0]
    entry = learned(stage, "Ellipsoid π")
    assert (entry.name, entry.method, entry.encoder) == ("Ellipsoid π", "autosam-linear", "tiny")
    assert entry.plane == "axial" and "from the start" in stage.session.review.summary
    assert [segment.name for segment in entry.segments] == ["Segment a"]
    stage.session.apply_model(entry, ["v", "v"])
    stage.until(lambda: stage.session.state is State.IDLE)
    assert [(added[0], added[2]) for added in stage.scene.added] == [("v", "Volume Ellipsoid π")] * 2
    segmentation = stage.scene.added[0][1]
    assert segmentation.geometry == stage.scene.geometry and segmentation.segments[0].name == "Segment a"
    assert segmentation.layers.any()
    page = stage.session.applied.page.read_text("utf-8")
    assert '"name": "Volume"' in page and '"name": "Volume (2)"' in page and page.count('"picture"') == 2


def test_a_volume_that_fails_stops_no_other_and_is_in_the_table(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.session.settings = Settings(method="autosam-linear")
    entry = learned(stage, "m")
    good = stage.scene.volume("v")
    bad = replace(good, id="w", voxels=np.zeros_like(good.voxels))
    monkeypatch.setattr(stage.scene, "volume", {"v": good, "w": bad}.get)
    stage.session.apply_model(entry, ["w", "v"])
    stage.until(lambda: stage.session.state is State.IDLE)
    assert len(stage.scene.added) == 1
    assert len(stage.errors) == 1 and stage.errors[0].startswith("“Volume” is constant")
    first, second = stage.session.applied.entries
    assert (first.state, first.error[1]) == ("failed", "the volume is constant: no voxel differs from any other.")
    assert second.state == "done" and stage.session.applied.page.is_file()


def test_what_a_model_adds_to_the_painted_segmentation_does_not_count_as_painted(stage) -> None:
    def add(volume_id: str) -> str:
        labels = stage.scene.labels
        labels[(labels == 0) & stage.scene.truth] = 2
        return "s"

    tracker, before = stage.session._tracker, stage.painted
    assert tracker.add("v", 0, lambda: add("v")) == "s"
    stage.settle()
    assert stage.painted == before
    stage.scene.labels[3] = 1
    stage.edited()
    assert stage.painted == sorted({3, *before})


def test_the_machine(stage) -> None:
    stage.session.inspect()
    stage.session.forget_scene()  # what is known of the computer remains
    stage.until(lambda: stage.session.machine is not None)
    machine = stage.session.machine
    assert machine.devices[-1].name == "cpu" and machine.devices[-1].free_bytes > 1e8
    tiny, vit_b = machine.encoder("tiny"), machine.encoder("vit_b")
    assert tiny.present and not vit_b.present and vit_b.download_bytes > 3e8
    paces = [each.paces["few-shot"] for each in (tiny, vit_b)]
    assert 0 < paces[0].encoding < paces[1].encoding and tiny.memory_bytes < vit_b.memory_bytes
    assert machine.encoder("auto").name == "tiny"


def test_a_wrong_choice_is_a_message(stage) -> None:
    stage.session.settings = Settings(encoder="vit_b", checkpoint="/nowhere/vit_b.pth")
    stage.session.propagate()
    stage.until(lambda: stage.session.state is State.IDLE)
    assert "/nowhere/vit_b.pth" in stage.errors[0]


def test_the_view_is_told_that_nothing_was_found(stage) -> None:
    """Otherwise it would say forever that it is looking for painted slices."""
    session, seen = stage.session, list[str]()
    stage.scene.labels[:] = 0
    session.set_inputs(None, None)
    session.changed.connect(lambda: seen.append(session.why_not()))
    session.set_inputs("v", "s")
    stage.settle()
    assert "Looking" in seen[0] and "Paint" in seen[-1]
