"""The options of `fewshotsam web`, checked."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web.folder import ServedFolder
from FewShotSAMLib.web.security import LOOPBACK, SHORTEST_SECRET, new_token
from FewShotSAMLib.worker.process import PACKAGE_PARENT

PYTHON_VARIABLE = "FEWSHOTSAM_PYTHON"
SECRET_VARIABLE = "FEWSHOTSAM_WEB_SECRET"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
TLS_NOTE = (
    "This server is reachable from other computers over plain HTTP: everything sent over the network, including images "
    "and the secret, can be read on the way. Put a proxy with TLS in front of it (nginx, Caddy, Apache), or leave out "
    "--host and use a tunnel: ssh -L {port}:127.0.0.1:{port} server"
)


@dataclass(frozen=True)
class WebOptions:
    """volume: None to choose one in the browser. secret: what a browser must show. python: runs the computations."""

    volume: Path | None
    folder: ServedFolder
    host: str
    port: int
    secret: str
    is_secret_chosen: bool
    python: Path
    open_browser: bool

    @property
    def is_public(self) -> bool:
        """Whether other computers can reach the server."""
        return self.host not in LOOPBACK

    def address(self, port: int) -> str:
        """The address to open in a browser. A secret that the user chose is left out: others may see the terminal."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.host in ("0.0.0.0", "::"):
            host = "<name of this computer>"
        query = "" if self.is_secret_chosen else f"?token={self.secret}"
        return f"http://{host}:{port}/{query}"


def web_options(
    volume: str | None,
    data: str | None = None,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    python: str | None = None,
    open_browser: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> WebOptions:
    """Check the options. Raises BadInputError for a volume, folder, secret or Python that cannot be used."""
    path = None if volume is None else Path(volume)
    if path is not None and not path.exists():
        raise BadInputError(f"{path} does not exist.", "Check the spelling and the folder.")
    if path is None and data is None:
        raise BadInputError("Neither a volume nor a folder was given.", "Give VOLUME, or --data FOLDER to choose from.")
    served = ServedFolder(Path(data) if data is not None else path.resolve().parent)  # type: ignore[union-attr]
    return WebOptions(
        volume=path,
        folder=served,
        host=host,
        port=port,
        secret=_secret(environment),
        is_secret_chosen=SECRET_VARIABLE in environment,
        python=worker_python(python, environment),
        open_browser=open_browser,
    )


def _secret(environment: Mapping[str, str]) -> str:
    chosen = environment.get(SECRET_VARIABLE)
    if chosen is None:
        return new_token()
    if len(chosen) < SHORTEST_SECRET:
        raise BadInputError(
            f"The secret in {SECRET_VARIABLE} has fewer than {SHORTEST_SECRET} characters.",
            "Choose a longer one, or unset the variable to have a random one made.",
        )
    return chosen


def worker_python(python: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The Python that has torch: the one named, this one, or that of `make demo` next to the package.

    Raises BadInputError if none is found.
    """
    named = python or environment.get(PYTHON_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise BadInputError(f"There is no Python at {named}.", f"Correct --python or {PYTHON_VARIABLE}.")
        return Path(named)
    if importlib.util.find_spec("torch") is not None:
        return Path(sys.executable)
    candidate = PACKAGE_PARENT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if candidate.is_file():
        return candidate
    raise BadInputError(
        "No Python with torch was found to compute with.",
        f"Run “make demo” once, name one with --python or {PYTHON_VARIABLE}, or install the extra here: "
        "pip install 'fewshotsam[engine]'",
    )
