"""The raw streams of the background process: its answers to valid and invalid lines, byte by byte."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from FewShotSAMLib.worker import protocol
from FewShotSAMLib.worker.process import worker_environment


def converse(script: Path, *lines: bytes, answers: int | None = None) -> list[dict]:
    """Return all events of a process that is shut down when `answers` requests (all, if None) have ended."""
    command = [sys.executable, str(script)]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, env=worker_environment(), bufsize=0)
    output: list[bytes] = []
    with process:
        process.stdin.write(b"".join(lines))
        ended = 0
        while ended < (answers or len(lines)):
            output.append(process.stdout.readline())
            ended += json.loads(output[-1])["type"] in ("result", "error")
        process.stdin.write(protocol.encode_message(protocol.Shutdown()))
        output += process.stdout.readlines()
    assert process.returncode == 0
    assert all(line.isascii() and line.endswith(b"\n") for line in output)
    return [json.loads(line) for line in output]


def request(command: str, **parameters: object) -> bytes:
    return protocol.encode_message(protocol.Request("1", command, dict(parameters)))


BAD_LINES = [
    (b"hello\n", None, "not JSON"),
    (b"\xff\xfe\x00\n", None, "not JSON"),
    (b"[" * 100_000 + b"\n", None, "not JSON"),
    (b"[1]\n", None, "not an object"),
    (b'{"type": "request", "command": "echo"}\n', None, "id"),
    (b'{"type": "dance", "id": "7"}\n', "7", "dance"),
    (b'{"type": "request", "id": "7", "command": 5}\n', "7", "command"),
    (b'{"type": "request", "id": "7", "command": "echo", "parameters": [1]}\n', "7", "parameters"),
]


def test_bad_lines_are_answered_and_the_process_lives_on(jobs_script: Path) -> None:
    lines = [line for line, _, _ in BAD_LINES]
    ready, *errors, result = converse(jobs_script, *lines, b"\n", request("echo"), answers=9)
    assert (ready["type"], ready["version"]) == ("ready", protocol.PROTOCOL_VERSION)
    assert (result["type"], result["id"]) == ("result", "1")
    for error, (_, request_id, word) in zip(errors, BAD_LINES, strict=True):
        assert (error["type"], error["kind"], error["id"]) == ("error", "bad_input", request_id)
        assert word in error["message"]
        assert error["hint"]


def test_a_line_without_end_is_cut_instead_of_filling_the_memory(jobs_script: Path) -> None:
    line = b'{"type": "request", "id": "' + b"x" * (protocol.MAX_LINE_BYTES + 100) + b'"}\n'
    _, error, result = converse(jobs_script, line, request("echo"))
    assert error["kind"] == "bad_input"
    assert result["type"] == "result"


def test_the_command_unknown_names_the_known(jobs_script: Path) -> None:
    _, error = converse(jobs_script, request("juggle"))
    assert "echo" in error["hint"] and "slow" in error["hint"]


def test_prints_of_libraries_do_not_spoil_the_stream_and_stdin_stays_ours(jobs_script: Path) -> None:
    _, noisy, echo = converse(jobs_script, request("noisy"), request("echo").replace(b'"1"', b'"2"'))
    assert noisy["report"] == {"read": "", "printed": "π"}
    assert echo["id"] == "2"


def test_events_carry_id_and_are_plain_json(jobs_script: Path) -> None:
    events = converse(jobs_script, request("events"))[1:]
    assert {event["id"] for event in events} == {"1"}
    kinds = [event["type"] for event in events]
    assert kinds.count("warning") == 1
    assert kinds[-1] == "result"
    by_kind = {event["type"]: event for event in events}
    assert by_kind["warning"]["message"] == "größer als üblich"
    assert by_kind["metric"]["value"] is None
    assert by_kind["preview"] == {"type": "preview", "id": "1", "slice": 3, "file": "é.npy"}
    progress = [event for event in events if event["type"] == "progress"]
    assert (progress[0]["done"], progress[-1]["done"], progress[-1]["eta_s"]) == (0, 999, 0.0)
    assert len(progress) < 100


def test_a_report_that_json_cannot_hold_is_a_bug_with_a_log(jobs_script: Path) -> None:
    _, error = converse(jobs_script, request("strange_report"))
    assert error["kind"] == "bug"
    assert "strange" not in error["message"] and Path(error["log"]).is_file()


def test_a_second_request_of_the_same_id_is_refused(jobs_script: Path) -> None:
    events = converse(jobs_script, request("slow"), request("slow"), answers=1)
    errors = [event["kind"] for event in events if event["type"] == "error"]
    assert errors in (["bad_input"], ["bad_input", "cancelled"]), "the shutdown ends the first"


def test_arrays_and_infinities_become_plain_json() -> None:
    numpy = pytest.importorskip("numpy")
    line = protocol.encode({"a": numpy.arange(2), "b": numpy.float32(numpy.inf), "c": (1, Path("ü")), "d": True})
    assert json.loads(line) == {"a": [0, 1], "b": None, "c": [1, "ü"], "d": True}
