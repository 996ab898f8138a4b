"""What a benchmark ran on, without anything that identifies the computer's owner."""

import importlib.metadata
import platform
from functools import cache
from pathlib import Path
from typing import Any

from FewShotSAMLib import __version__
from FewShotSAMLib.worker.process import usable_cores

PACKAGES = (
    *("numpy", "scipy", "SimpleITK", "torch", "segment-anything", "itk", "itk-morphologicalcontourinterpolation"),
    *("slicer-core", "vtk"),
)


@cache
def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, system and versions."""
    versions = {"fewshotsam": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the same in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    memory = f", {machine['memory_gb']} GB" if machine["memory_gb"] else ""
    return f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}; {versions}."


def processor() -> str:
    """Return the processor's name."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gb() -> int | None:
    kilobytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")]
    return round(kilobytes[0] / 2**20) if kilobytes else None


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
