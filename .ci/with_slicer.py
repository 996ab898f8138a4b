"""Fetch 3D Slicer on a CI machine and run Testing/Slicer in it; standard library only.

python .ci/with_slicer.py install FOLDER VERSION    VERSION is 5.12.3, or "preview" for the newest preview
python .ci/with_slicer.py test FOLDER               run the tests; exit code 0 if all passed
python .ci/with_slicer.py test-engine FOLDER        install the background process's packages into Slicer's Python first
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGES = "https://slicer-packages.kitware.com/api/v1"
ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = {"Linux": "linux", "Windows": "win", "Darwin": "macosx"}
PREVIEW = "preview"


def main(command: str, folder: str, *rest: str) -> int:
    """Run one of the three commands. Raises SystemExit for any other."""
    if command not in ("install", "test", "test-engine"):
        raise SystemExit(__doc__)
    place = Path(folder).resolve()
    if command == "install":
        install(download(*rest), place)
        return 0
    if command == "test-engine":
        if _is_for_intel_macs(place):
            sys.stdout.write("There is no PyTorch 2.4 for Intel Macs, so no background process to be tested here.\n")
            return 0
        install_engine(place)
        os.environ["FEWSHOTSAM_REQUIRE_ENGINE"] = "1"
    return test(place)


def _is_for_intel_macs(folder: Path) -> bool:
    code = "import platform; print(platform.system(), platform.machine())"
    done = subprocess.run([programs(folder)[1], "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split() == ["Darwin", "x86_64"]


def newest(packages: Iterable[Mapping[str, Any]], version: str) -> str | None:
    """Id of the first of the server's packages, which are sorted newest first, that is of this version; else None.

    A preview belongs to no release.
    """
    for package in packages:
        release = package["meta"].get("release") or PREVIEW
        if release == version:
            return str(package["_id"])
    return None


def download(version: str) -> Path:
    """The newest package of a version for this machine, in a temporary folder."""
    system = SYSTEMS[platform.system()]
    (application,) = _ask("app", name="Slicer", limit=1)
    # Before there were builds for arm64, Macs of that kind ran the others.
    architectures = ["arm64", "amd64"] if system == "macosx" and platform.machine() == "arm64" else ["amd64"]
    for architecture in architectures:
        named = {} if version == PREVIEW else {"release_id_or_name": version}
        query = {"os": system, "arch": architecture, "limit": 50, **named}
        identifier = newest(_ask(f"app/{application['_id']}/package", **query), version)
        if identifier is not None:
            path = (
                Path(tempfile.mkdtemp())
                / {"linux": "Slicer.tar.gz", "win": "Slicer.exe", "macosx": "Slicer.dmg"}[system]
            )
            urllib.request.urlretrieve(f"{PACKAGES}/item/{identifier}/download", path)
            return path
    raise SystemExit(f"{PACKAGES} has no Slicer {version} for {system}, {' or '.join(architectures)}.")


def _ask(path: str, **query: Any) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{PACKAGES}/{path}?{urllib.parse.urlencode(query)}", timeout=120) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def install(package: Path, folder: Path) -> None:
    """Unpack, or install without a question."""
    folder.mkdir(parents=True, exist_ok=True)
    if package.suffix == ".exe":
        # NSIS takes the folder as the last argument, and in no quotes.
        subprocess.run(f'"{package}" /S /D={folder}', check=True)
    elif package.suffix == ".dmg":
        image = Path(tempfile.mkdtemp())
        attach = ["hdiutil", "attach", "-nobrowse", "-readonly", "-mountpoint", str(image), str(package)]
        subprocess.run(attach, input=b"Y\n", check=True, stdout=subprocess.DEVNULL)  # a licence may be shown first
        try:
            shutil.copytree(image / "Slicer.app", folder / "Slicer.app", symlinks=True)
        finally:
            subprocess.run(["hdiutil", "detach", "-force", str(image)], check=True)
    else:
        subprocess.run(["tar", "xzf", str(package), "-C", str(folder), "--strip-components=1"], check=True)
    package.unlink()


def programs(folder: Path) -> tuple[Path, Path]:
    """Slicer, and its Python."""
    if platform.system() == "Windows":
        return folder / "Slicer.exe", folder / "bin" / "PythonSlicer.exe"
    if platform.system() == "Darwin":
        contents = folder / "Slicer.app" / "Contents"
        return contents / "MacOS" / "Slicer", contents / "bin" / "PythonSlicer"
    return folder / "Slicer", folder / "bin" / "PythonSlicer"


def install_engine(folder: Path) -> None:
    """What an installed FewShotSAM would ask to install, with the smaller torch for CPUs."""
    pip = [str(programs(folder)[1]), "-m", "pip", "install"]
    index = [] if platform.system() == "Darwin" else ["--index-url", "https://download.pytorch.org/whl/cpu"]
    resources = ROOT / "Resources"
    subprocess.run([*pip, "torch", "torchvision", *index], check=True)
    subprocess.run([*pip, "-r", str(resources / "requirements.txt")], check=True)
    pinned = resources / "requirements-segment-anything.txt"
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(pinned)], check=True)


def test(folder: Path) -> int:
    """Run the self-tests, on Linux in a virtual screen; their exit code."""
    screen = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1920x1080x24"]
    command = [
        *(screen if platform.system() == "Linux" else []),
        *(str(programs(folder)[0]), "--testing", "--no-splash"),
        *("--additional-module-paths", str(ROOT / "FewShotSAM")),
        *("--python-script", str(ROOT / "Testing" / "Slicer" / "run.py")),
    ]
    environment = {**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1"}
    # Through a pipe: on Windows Slicer is no console program, and would print nowhere.
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
