"""Servers and browsers for the tests of the browser app, in the environment of `make web`; skipped elsewhere."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import brief
import pytest
from web.page import Page, new_page

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.web.options import worker_python
from FewShotSAMLib.worker.client import WORKER_ARGUMENTS
from FewShotSAMLib.worker.process import worker_environment

START_S = 200
CHROMIUM_ARGUMENTS = [
    *("--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-quic", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def needs_trame_slicer() -> None:
    """Skip if the browser app is not installed."""
    if importlib.util.find_spec("trame_slicer") is None:
        pytest.skip("trame-slicer is not installed here: run “make web-test”")


@dataclass
class WebServer:
    """A running `fewshotsam web`; `lines` are what it has printed so far."""

    process: subprocess.Popen[str]
    address: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The address without the secret."""
        return self.address.partition("?")[0]

    @property
    def token(self) -> str:
        """The secret in the address."""
        return self.address.partition("token=")[2]

    def children(self) -> list[int]:
        """Return the ids of the processes that the server started (Linux)."""
        pid = self.process.pid
        lines = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for line in lines for child in line.split()]

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@pytest.fixture
def computing_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The background process's Python; its runs are brief (see there), except where times are guaranteed."""
    try:
        python = worker_python(None)
    except BadInputError as error:
        pytest.skip(str(error))
    if os.name != "posix" or request.node.get_closest_marker("quiet"):
        return python
    launcher = tmp_path_factory.mktemp("bin") / "python"
    launcher.write_text(
        f'#!/bin/sh\n[ "$*" = "{" ".join(WORKER_ARGUMENTS)}" ] && set -- -P "{brief.__file__}"\nexec "{python}" "$@"\n'
    )
    launcher.chmod(0o755)
    return launcher


@pytest.fixture
def start_server(
    own_folders: Path, computing_python: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., WebServer]]:
    """Start servers with these arguments; all are killed afterwards, and store their files in the test's folder."""
    needs_trame_slicer()
    monkeypatch.setenv("TMPDIR", str(own_folders))
    started = []

    def start(*arguments: str | Path) -> WebServer:
        command = [sys.executable, "-m", "FewShotSAMLib", "web", *map(str, arguments)]
        command += ["--port", "0", "--no-browser", "--python", str(computing_python)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=worker_environment()
        )
        server = WebServer(process)
        started.append(server)
        ready = threading.Event()
        threading.Thread(target=_read, args=(server, ready), daemon=True).start()
        assert ready.wait(START_S) and server.address, "".join(server.lines)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Page]]:
    """Open the page of a server, each in its own browser; any error in it fails the test.

    Takes the server and the geometry of the volume that it shows, None if it shows none yet.
    """
    errors: list[str] = []
    contexts = []
    pictures = os.environ.get("FEWSHOTSAM_TEST_PICTURES")
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)

    def open_(server: WebServer, geometry: Geometry | None = None, is_doomed: bool = False) -> Page:
        opened = new_page(browser)
        contexts.append(opened.context)
        if not is_doomed:  # its server will be killed, which causes errors
            opened.on("pageerror", lambda error: _note(str(error), errors))
        opened.goto(server.address)
        page = Page(opened, geometry, Path(pictures) if pictures else None)
        if geometry is None:
            opened.wait_for_selector("#b_open")
        else:
            page.wait_for_views()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors


def _note(error: str, errors: list[str]) -> None:
    """Record all errors except trame's own complaint, an object, that it spoke before its connection was open."""
    if error != "Object":
        errors.append(error)


def _read(server: WebServer, ready: threading.Event) -> None:
    assert server.process.stdout is not None
    for line in server.process.stdout:
        server.lines.append(line)
        if found := re.match(r"Open (http.+)", line):
            server.address = found[1]
            ready.set()
    ready.set()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium."""
    needs_trame_slicer()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    chromium = os.environ.get("FEWSHOTSAM_TEST_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium (set FEWSHOTSAM_TEST_CHROMIUM)")
    with playwright.sync_playwright() as api:
        running = api.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield running
        running.close()
