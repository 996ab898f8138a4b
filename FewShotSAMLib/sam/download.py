"""Downloads an encoder's published file: resumes an interrupted download, and renames the file after a hash check."""

from __future__ import annotations

import errno
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.sam.model_files import is_downloaded, model_folder, model_path, partial_path, sha256_of
from FewShotSAMLib.sam.registry import EncoderSpec

Progress = Callable[[int, int], None]
Check = Callable[[], None]

ATTEMPTS = 6
"""Consecutive attempts without a single new byte before giving up."""
FIRST_WAIT_S = 1.0
"""Wait before the second attempt; doubled before each further one."""
TIMEOUT_S = 30.0
_CHUNK_BYTES = 256 << 10
_SPARE_BYTES = 64 << 20
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)


class _TryAgainError(Exception):
    """The connection failed in a way that may be temporary."""


def download(
    spec: EncoderSpec, folder: Path | None = None, progress: Progress | None = None, check: Check | None = None
) -> Path:
    """Download the file of `spec` to `folder` (default: the model folder) and return its path.

    An interrupted download is resumed; a complete, correct file is left alone. `progress(done, total)` counts bytes;
    `check` is called several times a second and may raise to stop (the part downloaded is kept). The user is not asked:
    the caller shows size and licence. Raises BadInputError if the server is unreachable or offers another file, or the
    disk is full.
    """
    if not spec.is_downloaded:
        raise BadInputError(f"The encoder “{spec.name}” needs no download.", "It can be used as it is.")
    folder = folder or model_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_store(folder, error) from error
    path = model_path(spec, folder)
    with _sole_download(spec, folder):
        if not (is_downloaded(spec, folder) and sha256_of(path, check) == spec.sha256):
            _Download(spec, folder, progress or (lambda done, total: None), check or (lambda: None)).run()
    return path


class _Download:
    """One download in progress: the `.part` file, and next to it a file with the server's mark of the version."""

    def __init__(self, spec: EncoderSpec, folder: Path, progress: Progress, check: Check) -> None:
        self.spec = spec
        self.progress = progress
        self.check = check
        self.path = model_path(spec, folder)
        self.part = partial_path(spec, folder)
        self.mark = self.part.with_name(self.part.name + ".json")

    def run(self) -> None:
        """Download, check and rename; a resumed file with the wrong hash is downloaded once more from the start."""
        resumed = self._size() > 0
        self._fetch()
        if not self._is_right():
            self._discard()
            if resumed:
                self._fetch()
            if not (resumed and self._is_right()):
                self._discard()
                raise BadInputError(
                    f"The server sent a file other than the published {self.spec.filename}; it was deleted.",
                    hint("fetch-later", source=self.spec.source),
                )
        self.part.replace(self.path)
        self.mark.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _is_right(self) -> bool:
        return sha256_of(self.part, self.check) == self.spec.sha256

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)

    def _fetch(self) -> None:
        """Complete the `.part` file, with as many connections as it takes."""
        failures = 0
        while self._size() != self.spec.size_bytes:
            if self._size() > self.spec.size_bytes:
                self._discard()
            self._check_space()
            before = self._size()
            try:
                self._connect_once()
            except _TryAgainError as error:
                failures = 1 if self._size() > before else failures + 1
                if failures >= ATTEMPTS:
                    raise self._gave_up(error) from error
                self._wait(FIRST_WAIT_S * 2 ** (failures - 1))

    def _wait(self, seconds: float) -> None:
        """Sleep, calling `check` often."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.2))

    def _check_space(self) -> None:
        needed = self.spec.size_bytes - self._size()
        free = shutil.disk_usage(self.part.parent).free
        if free < needed + _SPARE_BYTES:
            raise BadInputError(
                f"{self.spec.filename} needs {needed / 1e6:.0f} MB more, but the disk of {self.part.parent} has only "
                f"{free / 1e6:.0f} MB free.",
                "Free some space, or set FEWSHOTSAM_HOME to a folder on another disk.",
            )

    def _connect_once(self) -> None:
        """Make one request; raises _TryAgainError if the connection breaks or the server is overloaded."""
        try:
            with urllib.request.urlopen(self._request(), timeout=TIMEOUT_S) as response:
                self._receive(response)
        except urllib.error.HTTPError as error:
            error.close()
            self._handle_refusal(error)
        except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError) as error:  # no answer
            raise _TryAgainError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        if self._size() < self.spec.size_bytes:
            raise _TryAgainError("the connection was closed early")

    def _request(self) -> urllib.request.Request:
        """Requests only the rest, and only if the server still has the version that the first part came from."""
        headers = {"User-Agent": "FewShotSAM", "Accept-Encoding": "identity"}
        if self._size() > 0:
            headers["Range"] = f"bytes={self._size()}-"
            if mark := self._read_mark():
                headers["If-Range"] = mark
        return urllib.request.Request(self.spec.url, headers=headers)

    def _handle_refusal(self, error: urllib.error.HTTPError) -> None:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self._size() > 0:
            self._discard()  # the server has less than we do: ours is another version
            raise _TryAgainError("the server cannot resume") from error
        if error.code in _PASSING_STATUS:
            raise _TryAgainError(f"the server answered {error.code}") from error
        raise BadInputError(
            f"{self.spec.url} cannot be downloaded: the server answered {error.code} {error.reason}.",
            hint("fetch-by-hand", file=self.spec.filename, source=self.spec.source),
        ) from error

    def _receive(self, response: Any) -> None:
        """Append (206) or start over (200), and write until the connection ends."""
        start = self._size() if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        self._check_offer(response, start)
        try:
            if start == 0:
                self._write_mark(response)
            with self.part.open("ab" if start else "wb") as stream:
                for chunk in self._chunks(response, start):
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _cannot_store(self.part, error) from error

    def _chunks(self, response: Any, done: int) -> Iterator[bytes]:
        """The received chunks; reports progress and never passes on more than the file's size."""
        self.progress(done, self.spec.size_bytes)
        while chunk := self._read(response):
            done += len(chunk)
            if done > self.spec.size_bytes:
                raise self._other_file(f"more than {self.spec.size_bytes} bytes")
            yield chunk
            self.progress(done, self.spec.size_bytes)
            self.check()

    def _read(self, response: Any) -> bytes:
        try:
            return bytes(response.read1(_CHUNK_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgainError(str(error) or type(error).__name__) from error

    def _check_offer(self, response: Any, start: int) -> None:
        """Refuse a file of another size before downloading it: a login page, an error page, another version."""
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            first, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if not first.startswith(f"{start}-") or total not in ("*", str(self.spec.size_bytes)):
                self._discard()
                raise _TryAgainError("the server resumed at another place")
            return
        length = response.headers.get("Content-Length")
        if length is not None and length != str(self.spec.size_bytes):
            raise self._other_file(f"{length} bytes ({response.headers.get_content_type()})")

    def _other_file(self, found: str) -> BadInputError:
        self._discard()
        return BadInputError(
            f"{self.spec.url} offers another file: {found} instead of {self.spec.size_bytes} bytes.",
            hint("check-login", source=self.spec.source),
        )

    def _read_mark(self) -> str:
        try:
            content = json.loads(self.mark.read_text(encoding="utf-8"))
            return str(content["mark"]) if content["url"] == self.spec.url else ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    def _write_mark(self, response: Any) -> None:
        """Save the strong ETag, or else the date: what If-Range accepts (RFC 9110, 13.1.5)."""
        etag = response.headers.get("ETag", "")
        mark = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        self.mark.write_text(json.dumps({"url": self.spec.url, "mark": mark}), encoding="utf-8")

    def _gave_up(self, error: _TryAgainError) -> BadInputError:
        kept = f" {self._size() / 1e6:.0f} MB of {self.spec.size_bytes / 1e6:.0f} MB are kept." if self._size() else ""
        return BadInputError(
            f"{self.spec.url} cannot be downloaded: {error}.{kept}",
            hint("check-internet", encoder=self.spec.name),
        )


@contextmanager
def _sole_download(spec: EncoderSpec, folder: Path) -> Iterator[None]:
    """Prevent a second process from writing to the same `.part` file."""
    lock = filelock.FileLock(folder / f".{spec.filename}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise BadInputError(
            f"{spec.filename} is being downloaded by another process.", "Wait until that download has ended."
        ) from error
    except OSError as error:
        raise _cannot_store(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _cannot_store(path: Path, error: OSError) -> BadInputError:
    advice = "Set FEWSHOTSAM_HOME to a folder that can be written."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "Free some space on the disk and start the download again; what was fetched is kept."
    return BadInputError(f"{path} cannot be written ({error.strerror or error}).", advice)
