"""Downloads from a local server that misbehaves in every way that servers and networks do."""

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import pytest

from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.sam import download as download_module
from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.registry import EncoderSpec, get_spec

CONTENT = os.urandom(3_000_000)


class Server(ThreadingHTTPServer):
    """What to serve and how to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.ranges = True
        self.drop_after: list[int] = []
        self.answers: list[int] = []
        self.pause_s = 0.0
        self.requests: list[tuple[str | None, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`; breaks the connection after `drop_after.pop(0)` bytes."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.requests.append((wanted, condition))
        if server.answers and (code := server.answers.pop(0)) != 200:
            self.send_error(code)
            return
        start = 0
        if wanted and server.ranges and condition in (None, server.etag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(server.content) - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self._send(server.content[start:])

    def _send(self, body: bytes) -> None:
        stop = self.server.drop_after.pop(0) if self.server.drop_after else len(body)
        for offset in range(0, min(stop, len(body)), 50_000):
            self.wfile.write(body[offset : min(offset + 50_000, stop)])
            time.sleep(self.server.pause_s)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silence."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download_module, "FIRST_WAIT_S", 0.01)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def spec(server: Server) -> EncoderSpec:
    return dataclasses.replace(
        get_spec("vit_b"),
        filename="weights.pth",
        url=f"http://127.0.0.1:{server.server_port}/weights.pth",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


def _left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_plain_download_reports_progress_and_is_not_repeated(spec: EncoderSpec, server: Server) -> None:
    seen: list[tuple[int, int]] = []
    path = download_module.download(spec, progress=lambda done, total: seen.append((done, total)))
    assert path == model_files.model_path(spec) and path.read_bytes() == CONTENT
    assert _left_over(path.parent) == ["weights.pth"]
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and len(seen) > 5
    download_module.download(spec)
    assert len(server.requests) == 1


def test_dropped_connections_are_resumed(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    server.drop_after = [1_000_000, 300_000, 0, 50_000]
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    assert [request for request, _ in server.requests] == [
        None, "bytes=1000000-", "bytes=1300000-", "bytes=1300000-", "bytes=1350000-"
    ]  # fmt: skip
    assert server.requests[1][1] == '"one"'


def test_server_without_ranges_starts_over(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.drop_after = [2_000_000, 2_900_000]
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_file_that_changes_between_two_connections(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    server.content, server.etag = bytes(len(CONTENT)), '"old"'
    server.drop_after = [1_000_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(BadInputError, match="kept"):
        download_module.download(spec, tmp_path)
    assert _left_over(tmp_path) == ["weights.pth.part", "weights.pth.part.json"]
    server.content, server.etag, server.drop_after = CONTENT, '"new"', []
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("bytes=1000000-", '"old"')


def test_change_that_the_server_does_not_tell(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(bytes(1_000_000))
    server.etag = ""
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    assert [request for request, _ in server.requests] == ["bytes=1000000-", None]


OTHERS = {
    "of the right size": (bytes(len(CONTENT)), r"sent a file other than the published weights.pth; it was deleted"),
    "a page": (b"<html>Please sign in</html>", r"27 bytes.*login"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_file_is_refused(other: str, spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    server.content, words = OTHERS[other]
    with pytest.raises(BadInputError, match=words):
        download_module.download(spec, tmp_path)
    assert _left_over(tmp_path) == []


def test_more_on_disk_than_the_server_has(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"more")
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    (tmp_path / "weights.pth").unlink()
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:2_000_000])
    server.answers = [416]
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    (tmp_path / "weights.pth").rename(tmp_path / "weights.pth.part")
    count = len(server.requests)
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT and len(server.requests) == count


def test_busy_server_is_asked_again_a_missing_file_is_not(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    server.answers = [503, 429]
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    server.answers = [404]
    with pytest.raises(BadInputError, match="answered 404"):
        download_module.download(spec, tmp_path / "other")
    assert len(server.requests) == 4


def test_no_connection(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    nowhere = dataclasses.replace(spec, url="http://127.0.0.1:9/weights.pth")
    with pytest.raises(BadInputError, match=r"Check the internet connection.*--checkpoint FILE"):
        download_module.download(nowhere, tmp_path)


def test_cancelled_download_goes_on_later(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    calls = iter(range(100))

    def check() -> None:
        if next(calls) == 5:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        download_module.download(spec, tmp_path, check=check)
    kept = (tmp_path / "weights.pth.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][0] == f"bytes={kept}-"


def test_killed_download_goes_on_later(spec: EncoderSpec, server: Server, tmp_path: Path) -> None:
    server.pause_s = 0.02
    code = (
        "import dataclasses, sys\nfrom pathlib import Path\n"
        "from FewShotSAMLib.sam import download as download_module, registry\n"
        f"spec = dataclasses.replace(registry.get_spec('vit_b'), filename='weights.pth', url={spec.url!r},"
        f" size_bytes={spec.size_bytes}, sha256={spec.sha256!r})\n"
        f"download_module.download(spec, Path({str(tmp_path)!r}))"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "weights.pth.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 500_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.pause_s = 0.0
    assert not (tmp_path / "weights.pth").exists()
    assert download_module.download(spec, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][0] is not None


def test_no_space_and_no_folder(
    spec: EncoderSpec, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="FEWSHOTSAM_HOME"):
        download_module.download(spec, tmp_path / "file" / "models")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(BadInputError, match="needs 3 MB more"):
        download_module.download(spec, tmp_path)
    assert not server.requests


def test_two_downloads_at_once(spec: EncoderSpec, tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / ".weights.pth.lock"), pytest.raises(BadInputError, match="another process"):
        download_module.download(spec, tmp_path)


def test_verify_and_status(spec: EncoderSpec, server: Server) -> None:
    assert model_files.is_downloaded(get_spec("tiny")) and not model_files.is_downloaded(spec)
    with pytest.raises(BadInputError, match="models download vit_b"):
        model_files.verify(spec)
    path = download_module.download(spec)
    assert model_files.verify(spec) == path and model_files.is_downloaded(spec)
    path.write_bytes(bytes(len(CONTENT)))
    with pytest.raises(BadInputError, match="damaged"):
        model_files.verify(spec)
    assert download_module.download(spec).read_bytes() == CONTENT
    states = {line.spec.name: line.state for line in model_files.status()}
    assert states["tiny"] == "built-in" and states["vit_h"] == "absent"
    model_files.model_path(get_spec("vit_h")).with_suffix(".pth.part").write_bytes(b"123")
    assert [line.spec.name for line in model_files.status() if line.state == "partial"] == ["vit_h"]
    assert model_files.verify(get_spec("tiny")).name == "tiny.safetensors"
    with pytest.raises(BadInputError, match="needs no download"):
        download_module.download(get_spec("tiny"))
