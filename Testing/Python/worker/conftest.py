"""A background process with jobs written for the tests, started as a real child."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from FewShotSAMLib.worker import WorkerClient

JOBS_SCRIPT = '''
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.worker.server import Server

def echo(parameters, context):
    context.state["runs"] = context.state.get("runs", 0) + 1
    return {"parameters": parameters, "runs": context.state["runs"], "job_folder": context.job_folder}

def noisy(parameters, context):
    print("a library prints {")
    os.write(1, b"so does its C code\\n")
    subprocess.run(["echo", "and its child"], check=True)
    return {"read": sys.stdin.read(), "printed": "π"}

def events(parameters, context):
    context.warning("größer als üblich")
    context.warning("größer als üblich")
    context.metric("loss", float("nan"))
    context.preview(slice=3, file=Path("é.npy"))
    for step in range(1000):
        context.progress("learn", step, 999)
    return {}

def slow(parameters, context):
    context.progress("encode", 0, 100)
    while True:
        context.check()
        time.sleep(0.02)

def until_enough(parameters, context):
    step = 0
    while not context.is_enough():
        context.progress("learn", step, 10**9)
        step += 1
        time.sleep(0.02)
    return {"steps": step}

def stubborn(parameters, context):
    child = subprocess.Popen(["sleep", "60"])
    context.preview(child=child.pid)
    time.sleep(60)

def hold_lock(parameters, context):
    """Sits in C code that holds the global lock, with a half-written file."""
    with atomic_path(Path(parameters["output"])) as partial:
        partial.write_text("half")
        context.preview(file=str(partial))
        ctypes.PyDLL(None).sleep(60)

def write(parameters, context):
    with atomic_path(Path(parameters["output"])) as partial:
        partial.write_text("half")
        context.preview(file=str(partial))
        while True:
            time.sleep(0.02)

def fail(parameters, context):
    class OutOfMemoryError(RuntimeError):
        pass
    errors = {
        "bad_input": BadInputError("It is empty.", "Paint it."),
        "memory": MemoryError(),
        "torch_gpu": OutOfMemoryError("CUDA"),
        "torch_cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        "bug": ZeroDivisionError("division by zéro"),
        "exit": SystemExit(3),
        "package": ModuleNotFoundError("No module named 'torch'", name="torch"),
        "other_package": ModuleNotFoundError("No module named 'torch'", name="colours"),
    }
    raise errors[parameters["how"]]

def strange_report(parameters, context):
    return {"report": object()}

def die(parameters, context):
    print(parameters.get("words", "last words"), file=sys.stderr, flush=True)
    if "reading" in parameters:
        context.reading(Path(parameters["reading"]))
        if parameters.get("done"):
            context.reading(None)
    if "signal" in parameters:
        os.kill(os.getpid(), parameters["signal"])
    os._exit(parameters["code"])

if __name__ == "__main__":
    names = [echo, noisy, events, slow, until_enough, stubborn, hold_lock, write, fail, strange_report, die]
    sys.exit(Server(jobs={job.__name__: job for job in names}).run())
'''


@pytest.fixture
def jobs_script(tmp_path: Path) -> Path:
    """A program that serves the test jobs."""
    script = tmp_path / "serve test jobs ü.py"
    script.write_text(JOBS_SCRIPT, encoding="utf-8")
    return script


@pytest.fixture
def client(jobs_script: Path) -> Iterator[WorkerClient]:
    """A started client of the test jobs."""
    with WorkerClient(arguments=[str(jobs_script)]) as client:
        yield client


def next_event(client: WorkerClient, kind: str, seconds: float = 20) -> dict:
    """Poll until an event of this type comes; return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for event in client.poll(0.2):
            if event["type"] == kind:
                return event
    raise AssertionError(f"no {kind} event")
