"""`fewshotsam cohort` with trivial jobs: failures, kills, stops, and what a second call does."""

import csv
import json
import os
import signal
import subprocess
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from FewShotSAMLib.cli import main
from FewShotSAMLib.cohort import running
from FewShotSAMLib.cohort.pool import Pool, Resources, divide_resources
from FewShotSAMLib.core.plain_json import dumps_with_digest, loads_with_digest

WritePlan = Callable[..., Path]
Start = Callable[..., subprocess.Popen[str]]


def cohort(plan: Path, *more: str, processes: int = 2) -> int:
    usual = ["-o", str(plan.parent / "out"), "--device", "cpu", "--processes", str(processes), "-q"]
    return main(["cohort", str(plan), *usual, *more])


def rows_of(plan: Path) -> dict[str, dict[str, str]]:
    text = (plan.parent / "out" / "cohort.csv").read_text("utf-8-sig")
    return {row["name"]: row for row in csv.DictReader(text.splitlines())}


def results(plan: Path) -> dict[str, int]:
    """Return each result and when it was written."""
    whole = [path for path in (plan.parent / "out").glob("*.seg.nrrd") if ".partial-" not in path.name]
    return {path.name.partition(".")[0]: path.stat().st_mtime_ns for path in whole}


def leftovers(plan: Path) -> list[str]:
    return [path.name for path in (plan.parent / "out").rglob("*.partial-*")]


@pytest.mark.usefixtures("with_test_jobs")
def test_a_second_call_does_what_is_missing_or_broke(write_plan: WritePlan, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(a="good", b="", c="dies once", d="dies", e="memory", f="good")
    assert cohort(plan) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert sorted(line.split(":")[1].strip() for line in told) == ["b", "d", "e"]
    assert results(plan).keys() == {"a", "c", "f"} and not leftovers(plan)
    rows = rows_of(plan)
    kinds = {name: row["error"] for name, row in rows.items() if row["state"] == "failed"}
    assert kinds == {"b": "bad_input", "d": "worker_died", "e": "out_of_memory"}
    assert [row["state"] for row in rows.values()] == ["failed"] * 3 + ["done"] * 3
    told = (rows["b"]["message"], rows["b"]["hint"], rows["c"]["Site"])
    assert told == ("the volume is empty.", "Copy it again.", "2")
    before = results(plan)
    for name in "bde":
        (plan.parent / f"{name}.nrrd").write_text("good")
    assert cohort(plan) == 0
    after = results(plan)
    assert after.keys() == set("abcdef") and {name: after[name] for name in before} == before
    assert {row["state"] for row in rows_of(plan).values()} == {"done"}


@pytest.mark.usefixtures("with_test_jobs")
def test_nothing_is_replaced_without_being_asked(write_plan: WritePlan, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(a="good", b="good", c="good", d="good")
    out = plan.parent / "out"
    out.mkdir()
    (out / "d.seg.nrrd").write_text("mine")
    assert cohort(plan) == 2 and "already exists, made from other files" in capsys.readouterr().err
    assert results(plan).keys() == {"d"} and (out / "d.seg.nrrd").read_text() == "mine"
    (out / "d.seg.nrrd").unlink()
    assert cohort(plan) == 0
    (out / "a.seg.nrrd").write_text("corrected by hand")
    assert cohort(plan) == 0 and (out / "a.seg.nrrd").read_text() == "corrected by hand"
    before = results(plan)
    (plan.parent / "b.nrrd").write_text("another volume")
    assert cohort(plan) == 2 and "b.seg.nrrd already exists, made" in capsys.readouterr().err
    assert cohort(plan, "--smooth-mm", "1") == 2 and "already exists, and 3 more" in capsys.readouterr().err
    assert results(plan) == before
    assert cohort(plan, "--replace") == 0
    assert {name for name, time_ in results(plan).items() if time_ != before[name]} == {"b"}
    status = (plan.parent / "d.nrrd").stat()
    content = (plan.parent / "d.nrrd").read_bytes()
    (plan.parent / "d.nrrd").write_bytes(content[::-1])  # same size and, as a program may set it, the same time
    os.utime(plan.parent / "d.nrrd", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cohort(plan) == 2 and "d.seg.nrrd already exists, made" in capsys.readouterr().err
    assert cohort(plan, "--replace") == 0
    (plan.parent / "m.fewshot").write_text("another model")
    os.utime(plan.parent / "c.nrrd")  # a volume that was copied again may be another one
    assert cohort(plan) == 2 and "already exists, and 3 more" in capsys.readouterr().err


@pytest.mark.usefixtures("with_test_jobs")
def test_a_result_that_an_interrupted_replacement_left_is_made_again(write_plan: WritePlan) -> None:
    plan = write_plan(a="good")
    assert cohort(plan) == 0
    record = plan.parent / "out" / "cohort-rows" / "a.json"
    told = loads_with_digest(record.read_text())
    told["written"]["modified_ns"] += 1  # as if the new record were in place, but not yet the new result
    record.write_text(dumps_with_digest(told))
    before = results(plan)
    assert cohort(plan) == 0 and results(plan) != before


def test_a_killed_driver_and_one_that_is_stopped_go_on(write_plan: WritePlan, start_command_line: Start) -> None:
    plan = write_plan(**{f"v{number}": "good" if number < 3 else "waits" for number in range(8)})
    arguments = ["cohort", plan, "-o", plan.parent / "out", "--device", "cpu", "--processes", "2"]

    def stopped_by(number: int, there: int) -> int:
        process = start_command_line(*arguments)
        while len(results(plan)) < there:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        return process.wait(100)

    assert stopped_by(signal.SIGKILL, 3) == -signal.SIGKILL
    first = results(plan)
    for name in ("v3", "v4"):
        (plan.parent / f"{name}.nrrd").write_text("good")
    assert stopped_by(signal.SIGINT, 5) == 4
    second = results(plan)
    assert len(second) == 5 and {name: second[name] for name in first} == first and not leftovers(plan)
    assert [row["state"] for row in rows_of(plan).values()] == ["done"] * 5 + ["missing"] * 3
    (plan.parent / "go").write_text("")
    process = start_command_line(*arguments)
    text, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "3 of 8 volumes were segmented, 5 were already there." in text
    third = results(plan)
    assert len(third) == 8 and {name: third[name] for name in second} == second and not leftovers(plan)


@pytest.mark.usefixtures("with_test_jobs")
def test_a_full_disk_stops_it_before_hours_are_wasted(
    write_plan: WritePlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(**{f"v{number}": "good" for number in range(9)})
    usage = namedtuple("usage", "free")

    def free(folder: Path) -> usage:
        return usage(10_000_000 if len(results(plan)) < 3 else 100_000)

    monkeypatch.setattr(running.shutil, "disk_usage", free)
    assert cohort(plan) == 2 and "full. Free some space" in capsys.readouterr().err
    assert 3 <= len(results(plan)) <= 5
    assert [row["state"] for row in rows_of(plan).values()].count("missing") == 9 - len(results(plan))
    monkeypatch.undo()


@pytest.mark.usefixtures("with_test_jobs")
def test_what_cannot_be_is_found_before_the_work(write_plan: WritePlan, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(a="good")

    def refused(*more: str) -> str:
        assert cohort(plan, *more) == 2
        return capsys.readouterr().err

    assert "--steps is for propagate" in refused("--steps", "3")
    assert "would overwrite the table" in refused("--json", str(plan.parent / "out" / "cohort.csv"))
    (plan.parent / "m.fewshot").write_text("damaged")
    assert refused().count("The few-shot model is damaged.") == 1 and not results(plan)


def test_two_cohorts_in_one_folder(write_plan: WritePlan, start_command_line: Start) -> None:
    plan = write_plan(a="waits")
    arguments = ["cohort", plan, "-o", plan.parent / "out", "--device", "cpu", "--processes", "1"]
    start_command_line(*arguments)
    while not (plan.parent / "a.begun").exists():
        time.sleep(0.02)
    second = start_command_line(*arguments)
    assert "Another “fewshotsam cohort”" in second.communicate(timeout=60)[1] and second.returncode == 2


@pytest.mark.usefixtures("with_test_jobs")
def test_each_process_gets_its_card_and_its_threads(write_plan: WritePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = write_plan(**{f"v{number}": "slow 0.2" for number in range(6)})
    monkeypatch.setenv("TEST_DEVICES", "cuda:0,cuda:1,cpu")
    assert main(["cohort", str(plan), "-o", str(plan.parent / "out"), "--cores-per-process", "3", "-q"]) == 0
    records = [json.loads(path.read_text()) for path in (plan.parent / "out" / "cohort-rows").glob("*.json")]
    given = {(each["device"], each["threads"]) for each in records}
    assert given == {("cuda:0", "3"), ("cuda:1", "3")}
    assert len({each["process"] for each in records}) == 2, "processes stay from row to row"


def test_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.cohort.pool.usable_cores", lambda: 16)
    machine = {"devices": [{"name": "cpu"}], "best_device": "cpu", "encoder": "tiny", "memory_free_bytes": 64 << 30}
    machine["encoders"] = [{"name": "tiny", "memory_bytes": 600 << 20}, {"name": "vit_h", "memory_bytes": 6 << 30}]
    assert len(divide_resources(machine, None, 1, "auto", 10 << 20)) == 16, "one for each core"
    assert len(divide_resources(machine, None, 4, "auto", 10 << 20)) == 4, "or each four"
    assert len(divide_resources({**machine, "encoder": "vit_h"}, None, 1, "auto", 10 << 20)) == 8, "as memory allows"
    assert len(divide_resources(machine, None, 1, "auto", 10 << 30)) == 1, "and at least one"
    assert len(divide_resources(machine, 3, 1, "auto", 10 << 20)) == 3, "or as the user says"
    cards = {**machine, "devices": [{"name": "cuda:0"}, {"name": "cuda:1"}, {"name": "cpu"}], "best_device": "cuda:0"}
    assert [resources.device for resources in divide_resources(cards, None, 1, "auto", 1)] == ["cuda:0", "cuda:1"]
    assert [resources.device for resources in divide_resources(cards, 4, 1, "cuda", 1)] == ["cuda:0", "cuda:1"] * 2
    assert [resources.device for resources in divide_resources(cards, None, 1, "cuda:1", 1)] == [""], "the row says it"
    assert len(divide_resources(cards, None, 2, "cpu", 1)) == 8
    assert len(divide_resources({**machine, "best_device": "mps"}, None, 1, "auto", 1)) == 1


def test_an_error_in_a_thread_of_the_pool_is_raised() -> None:
    def broken():
        raise KeyError("a bug")
        yield

    pool = Pool([Resources()])
    with pytest.raises(KeyError, match="a bug"):
        list(pool.run(broken(), lambda task, event: None, lambda: 0))
