"""The client with a real background process: results, errors, cancellation, deaths, restarts."""

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness.launcher import makePythonSlicer
from processes import is_alive, wait_until
from worker.conftest import next_event

from FewShotSAMLib.core.errors import BadInputError, CancelledError, MemoryShortageError
from FewShotSAMLib.worker import WorkerClient, WorkerDiedError, WorkerError, deaths, logs
from FewShotSAMLib.worker import process as process_module
from FewShotSAMLib.worker import watchdog as watchdog_module
from FewShotSAMLib.worker.process import PACKAGE_PARENT, worker_environment


def test_result_events_and_what_stays_warm(client: WorkerClient, tmp_path: Path) -> None:
    folder = tmp_path / "jöb földer"
    request = client.request("echo", {"volume": "/données/été.nrrd", "n": 1, "job_folder": str(folder)})
    report = client.wait(request)
    assert report["parameters"] == {"volume": "/données/été.nrrd", "n": 1}
    assert report["job_folder"] == str(folder)
    assert client.wait(client.request("echo"))["runs"] == 2
    assert [event["type"] for event in client.poll()] == ["ready"]


def test_requests_queue_and_the_events_of_others_are_kept(client: WorkerClient) -> None:
    first, second, third = (client.request("echo", {"n": n}) for n in range(3))
    seen: list[dict] = []
    assert client.wait(second, seen.append)["parameters"] == {"n": 1}
    assert seen == []
    assert client.wait(first)["parameters"] == {"n": 0}
    assert client.wait(third)["parameters"] == {"n": 2}
    with pytest.raises(ValueError, match="no open request"):
        client.wait(third)


def test_a_listener_that_fails_loses_no_event(client: WorkerClient) -> None:
    def fail(event: dict) -> None:
        raise KeyError(event["type"])

    request = client.request("events")
    with pytest.raises(KeyError):
        client.wait(request, fail)
    assert client.wait(request) == {}


@pytest.mark.parametrize(
    ("how", "error_class", "exit_code", "word"),
    [
        ("bad_input", BadInputError, 2, "It is empty. Paint it."),
        ("memory", MemoryShortageError, 3, "memory"),
        ("torch_gpu", MemoryShortageError, 3, "memory"),
        ("torch_cpu", MemoryShortageError, 3, "memory"),
        ("package", BadInputError, 2, "torch is not installed. Run: pip install"),
        ("bug", WorkerError, 1, "division by zéro"),
        ("exit", WorkerError, 1, "SystemExit"),
        ("other_package", WorkerError, 1, "ModuleNotFoundError"),
    ],
)
def test_errors_keep_kind_and_words(
    client: WorkerClient, how: str, error_class: type, exit_code: int, word: str
) -> None:
    with pytest.raises(error_class, match=word) as caught:
        client.wait(client.request("fail", {"how": how}))
    assert caught.value.exit_code == exit_code
    assert "\n" not in str(caught.value)
    assert client.wait(client.request("echo"))["runs"] == 1


def test_the_log_of_a_bug_holds_the_traceback(client: WorkerClient, own_folders: Path) -> None:
    with pytest.raises(WorkerError) as caught:
        client.wait(client.request("fail", {"how": "bug"}))
    log = Path(caught.value.log)
    assert log.is_file() and log.parent == own_folders / "logs"
    text = log.read_text(encoding="utf-8")
    assert "Traceback" in text and "division by zéro" in text and "in fail" in text


def test_old_logs_are_removed(client: WorkerClient, own_folders: Path) -> None:
    client.wait(client.request("echo"))
    folder = own_folders / "logs"
    for number in range(40):
        (folder / f"worker-19990101-0000{number:02}-1.log").write_text("old")
    client.close()
    client.start()
    client.wait(client.request("echo"))
    assert len(list(folder.iterdir())) == 20
    assert Path(client.log).is_file()


def test_without_a_folder_of_logs_it_works(
    jobs_script: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_folders / "file").write_text("")
    monkeypatch.setenv("FEWSHOTSAM_HOME", str(own_folders / "file"))
    with WorkerClient(arguments=[str(jobs_script)]) as client:
        with pytest.raises(WorkerError) as caught:
            client.wait(client.request("fail", {"how": "bug"}))
        assert caught.value.log == ""


def test_cancel_is_answered_within_a_second_and_the_process_stays(client: WorkerClient) -> None:
    running, waiting = client.request("slow"), client.request("echo")
    next_event(client, "progress")
    pid, start = client.pid, time.monotonic()
    client.cancel(waiting)
    with pytest.raises(CancelledError, match="before it began"):
        client.wait(waiting)
    client.cancel(running)
    with pytest.raises(CancelledError) as caught:
        client.wait(running)
    assert time.monotonic() - start < 1
    assert caught.value.exit_code == 4
    assert client.wait(client.request("echo"))["runs"] == 1
    assert client.pid == pid
    client.cancel(running)
    client.cancel("never existed")


def test_cancel_is_answered_while_the_engine_is_still_being_imported(tmp_path: Path) -> None:
    script = tmp_path / "slow_import.py"
    script.write_text(
        "import time\nfrom FewShotSAMLib.worker.server import Server\n"
        "class Jobs(dict):\n"
        "    def __contains__(self, name):\n"
        "        time.sleep(3)\n"
        "        return True\n"
        "Server(jobs=Jobs()).run()\n"
    )
    with WorkerClient(arguments=[str(script)]) as client:
        request = client.request("echo")
        assert client.poll(20)[0]["type"] == "ready"
        time.sleep(0.3)
        start = time.monotonic()
        client.cancel(request)
        with pytest.raises(CancelledError, match="before it began"):
            client.wait(request)
        assert time.monotonic() - start < 1


def test_a_job_that_ignores_cancel_is_killed_with_its_children(client: WorkerClient) -> None:
    stubborn, queued = client.request("stubborn"), client.request("echo")
    child = next_event(client, "preview")["child"]
    worker = client.pid
    assert is_alive(child)
    client.cancel(stubborn, grace_s=0.5)
    start = time.monotonic()
    with pytest.raises(CancelledError, match="did not answer"):
        client.wait(stubborn)
    assert 0.4 < time.monotonic() - start < 10
    with pytest.raises(WorkerDiedError, match="cancelled run did not stop"):
        client.wait(queued)
    assert wait_until(lambda: not is_alive(worker) and not is_alive(child), 2)
    client.start()
    assert client.wait(client.request("echo"))["runs"] == 1


def test_kill_9_gives_a_clear_error_and_a_new_start_works(client: WorkerClient, tmp_path: Path) -> None:
    output = tmp_path / "ergebnis.seg.nrrd"
    request = client.request("write", {"output": str(output)})
    partial = Path(next_event(client, "preview")["file"])
    assert partial.is_file()
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match=r"SIGKILL.*memory.*kept") as caught:
        client.wait(request)
    assert caught.value.exit_code == 1
    assert not client.running
    with pytest.raises(WorkerDiedError, match="not running"):
        client.request("echo")
    assert wait_until(lambda: not partial.exists(), 2), "the watchdog leaves no half-written file"
    assert not output.exists()
    client.start()
    assert client.wait(client.request("echo"))["runs"] == 1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"signal": int(signal.SIGABRT)}, r"crashed \(SIGABRT\).*kept.*log"), ({"code": 7}, r"exit code 7.*kept.*log")],
)
def test_other_deaths_are_named_and_their_last_words_logged(client: WorkerClient, parameters: dict, words: str) -> None:
    with pytest.raises(WorkerDiedError, match=words) as caught:
        client.wait(client.request("die", parameters))
    assert "last words" in Path(caught.value.log).read_text(encoding="utf-8")


@pytest.fixture
def launched(jobs_script: Path, tmp_path: Path) -> Iterator[WorkerClient]:
    """A background process behind Slicer's launcher, whose memory and number of kills are files of the test."""
    launcher = makePythonSlicer(tmp_path)
    (tmp_path / "meminfo").write_text(meminfo(available=8_000_000))
    watchdog = Path(watchdog_module.__file__).read_text().replace("/proc/meminfo", str(tmp_path / "meminfo"))
    (tmp_path / "watchdog.py").write_text(watchdog)
    patch = f"import FewShotSAMLib.worker.watchdog as w; w.__file__ = {str(tmp_path / 'watchdog.py')!r}\n"
    jobs_script.write_text(patch + jobs_script.read_text(encoding="utf-8"), encoding="utf-8")
    with WorkerClient(python=launcher, arguments=[str(jobs_script)]) as client:
        yield client


def meminfo(available: int) -> str:
    return f"MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:   {available} kB\n"


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="the system's own files")
@pytest.mark.parametrize("evidence", ["scarce", "counted", "words", "none", "fault"])
def test_behind_slicers_launcher_a_death_is_told_by_its_traces(
    launched: WorkerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: str
) -> None:
    kills = tmp_path / "vmstat"
    kills.write_text("nr_free_pages 5\noom_kill 3\n")
    monkeypatch.setattr(deaths, "KILLS_FILE", kills)
    launched.close()
    launched.start()
    launched.wait(launched.request("echo"))
    if evidence == "scarce":
        (tmp_path / "meminfo").write_text(meminfo(available=200_000))
        time.sleep(0.6)
    elif evidence == "counted":
        kills.write_text("nr_free_pages 5\noom_kill 4\n")
    number = signal.SIGSEGV if evidence == "fault" else signal.SIGKILL
    said = "terminate called after throwing an instance of 'std::bad_alloc'" if evidence == "words" else "last words"
    with pytest.raises(WorkerDiedError) as caught:
        launched.wait(launched.request("die", {"signal": int(number), "words": said}))
    expected = {"none": "was killed (SIGKILL), as the system does when memory", "fault": "crashed (Segmentation fault)"}
    assert expected.get(evidence, "memory ran out") in str(caught.value)
    assert ("choose a smaller encoder" in caught.value.hint) == (evidence != "fault")
    assert said in Path(caught.value.log).read_text(encoding="utf-8")


def test_a_library_that_ends_the_process_for_memory() -> None:
    said = "OpenBLAS error: Memory allocation still failed after 10 retries, giving up."
    assert deaths.describe_death(1, [said], "")[0] == deaths.MEMORY_RAN_OUT
    assert deaths.describe_death(1, ["ImportError: no torch"], "")[0] != deaths.MEMORY_RAN_OUT


def test_scarce_memory_of_a_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's own limit, while the computer has memory to spare; file pages that can be dropped count as free."""
    (tmp_path / "meminfo").write_text(meminfo(available=8_000_000))
    (tmp_path / "cgroup").write_text("0::/slice/job\n")
    group = tmp_path / "slice" / "job"
    group.mkdir(parents=True)
    monkeypatch.setattr(watchdog_module, "MEMORY_FILE", tmp_path / "meminfo")
    monkeypatch.setattr(watchdog_module, "GROUP_FILE", tmp_path / "cgroup")
    monkeypatch.setattr(watchdog_module, "GROUP_ROOT", tmp_path)
    assert watchdog_module.free_share() == 0.5
    for name, text in (("max", "max"), ("current", "990"), ("stat", "anon 900\ninactive_file 20\n")):
        (group / f"memory.{name}").write_text(text)
    assert watchdog_module.free_share() == 0.5
    (group / "memory.max").write_text("1000\n")
    assert watchdog_module.free_share() == 0.03


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with WorkerClient(arguments=["-m", "no_such_module"]) as client:
        request = client.request("echo")
        with pytest.raises(WorkerDiedError, match=r"could not start.*no_such_module.*doctor"):
            client.wait(request)
    with pytest.raises(WorkerDiedError, match="cannot be started"):
        WorkerClient(python=tmp_path / "no-python").start()


# What 3D Slicer without any extension can import, of the packages that FewShotSAM uses.
BARE_SLICER = """
import importlib.machinery, runpy, sys
there = {*sys.stdlib_module_names, "FewShotSAMLib", "numpy", "scipy", "SimpleITK", "vtk", "vtkmodules"}
class Bare:
    def find_spec(self, name, path=None, target=None):
        if path is None and name not in there and not name.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Bare())
runpy.run_module("FewShotSAMLib.worker", run_name="__main__", alter_sys=True)
"""


def test_in_a_bare_slicer_it_starts_and_says_what_is_missing() -> None:
    with WorkerClient(arguments=["-P", "-c", BARE_SLICER]) as client:
        assert Path(next_event(client, "ready")["log"]).is_file()
        with pytest.raises(BadInputError, match=r"The package (torch|h5py|filelock|platformdirs) is not installed"):
            client.wait(client.request("inspect"))


@pytest.mark.parametrize("system", ["win32", "darwin", "linux"])
def test_logs_lie_where_the_system_has_them(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """The folder is the one that platformdirs names, which a bare Slicer lacks."""
    platforms = {"win32": ("windows", "Windows"), "darwin": ("macos", "MacOS"), "linux": ("unix", "Unix")}
    module, name = platforms[system]
    monkeypatch.delenv("FEWSHOTSAM_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", "/home/user/AppData/Local")
    if system == "win32" != sys.platform:  # its own mechanism only works there; this one uses the variable
        windows = importlib.import_module("platformdirs.windows")
        monkeypatch.setattr(windows, "get_win_folder", windows.get_win_folder_from_env_vars)
    made = getattr(importlib.import_module(f"platformdirs.{module}"), name)("FewShotSAM", appauthor=False)
    monkeypatch.setattr(logs.sys, "platform", system)
    assert logs.log_folder() == made.user_log_path


def test_another_protocol_version_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "future.py"
    script.write_text('import sys\nprint(\'{"type": "ready", "version": 99}\', flush=True)\nsys.stdin.read()\n')
    with WorkerClient(arguments=[str(script)]) as client:
        request = client.request("echo")
        with pytest.raises(WorkerDiedError, match="another version"):
            client.wait(request)


def test_twenty_requests_and_five_starts_leave_nothing_behind(client: WorkerClient) -> None:
    def resources() -> tuple[int, int, int, int]:
        own = Path(f"/proc/{os.getpid()}")
        worker = Path(f"/proc/{client.pid}")
        return tuple(len(list((process / kind).iterdir())) for process in (own, worker) for kind in ("fd", "task"))

    client.wait(client.request("echo"))
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    before = resources()
    for number in range(20):
        assert client.wait(client.request("echo"))["runs"] == number + 2
    assert resources() == before
    for _ in range(5):
        client.close()
        client.start()
        client.wait(client.request("echo"))
    assert resources() == before


def test_the_environment_is_clean() -> None:
    base = {"PATH": "/bin", "PYTHONHOME": "/host", "PYTHONPATH": "/host/lib", "LD_LIBRARY_PATH": "/host/lib"}
    base |= {"PYTHONSTARTUP": "/s.py", "QT_PLUGIN_PATH": "/host/qt", "FEWSHOTSAM_CACHE": "/cache"}
    kept = worker_environment(base)
    assert kept["PYTHONPATH"].split(os.pathsep) == [str(PACKAGE_PARENT), "/host/lib"]
    assert kept["PYTHONHOME"] == "/host"
    assert "PYTHONSTARTUP" not in kept
    own = worker_environment(base, host_environment=False)
    assert own == {
        "PATH": "/bin",
        "FEWSHOTSAM_CACHE": "/cache",
        "PYTHONPATH": str(PACKAGE_PARENT),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def test_a_module_in_the_current_folder_does_not_replace_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('wrong queue')\n")
    monkeypatch.chdir(tmp_path)
    with WorkerClient() as client:
        assert next(iter(client.poll(20)))["type"] == "ready"


def test_close_ends_a_running_job_and_all_threads(client: WorkerClient) -> None:
    client.request("slow")
    next_event(client, "progress")
    start, threads = time.monotonic(), threading.active_count()
    client.close()
    client.close()
    assert time.monotonic() - start < 2
    assert not client.running
    assert threading.active_count() == threads - 2


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("done", [False, True])
def test_a_file_that_crashes_its_reader_is_named(client: WorkerClient, done: bool) -> None:
    """The crash ends only the background process, and the file is blamed only while it is being read."""
    request = client.request("die", {"signal": signal.SIGSEGV, "reading": "/données/odd.nrrd", "done": done})
    with pytest.raises(WorkerDiedError if done else BadInputError) as caught:
        client.wait(request)
    assert ("/données/odd.nrrd" in str(caught.value)) != done and "SIGSEGV" in str(caught.value)
    client.start()
    assert client.wait(client.request("echo"))["runs"] == 1


def test_under_windows_no_console_window_flashes_when_a_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[dict] = []
    monkeypatch.setattr(process_module, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(process_module, "NO_WINDOW", 0x08000000)
    monkeypatch.setattr(
        process_module.subprocess, "run", lambda command, **options: ran.append({"command": command, **options})
    )
    process_module.kill_group(SimpleNamespace(pid=7, poll=lambda: None, wait=lambda patience: 1))
    assert ran[0]["command"][0] == "taskkill" and ran[0]["creationflags"] == 0x08000000
