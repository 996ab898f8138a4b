"""The log file of one background process."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_LOG_BYTES = 2**20
KEPT_LOGS = 20


def log_folder() -> Path:
    """`logs` in FEWSHOTSAM_HOME if that is set, else the operating system's folder for logs.

    The same as platformdirs gives, which may not be installed yet when the background process says what is missing.
    """
    home = os.environ.get("FEWSHOTSAM_HOME")
    if home:
        return Path(home).expanduser() / "logs"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "FewShotSAM" / "Logs"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Logs" / "FewShotSAM"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "FewShotSAM" / "log"


def open_log() -> Path | None:
    """Send this process's logging and Python warnings to a log file of its own, and return its path.

    The files of the last 20 processes are kept, each at most 2 MiB with its predecessor. Returns None if none can be
    written, which must not stop the work.
    """
    path = log_folder() / f"worker-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_old_logs(path.parent)
        handler = RotatingFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    return path


def write_traceback(error: BaseException) -> Path | None:
    """Put the traceback of a bug outside the background process into a log file; None if none can be written."""
    path = log_folder() / f"cli-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return None
    return path


def _remove_old_logs(folder: Path) -> None:
    logs = sorted(folder.glob("*-*.log*"), key=lambda path: path.name.partition("-")[2])  # by date, not by program
    for path in logs[: -(KEPT_LOGS - 1)]:
        path.unlink(missing_ok=True)
