"""`doctor`: what is installed, what is missing and what to do about it. A broken installation does not break it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FewShotSAMLib import __version__
from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.packages import distribution_of
from FewShotSAMLib.worker.logs import log_folder
from FewShotSAMLib.worker.process import worker_environment

BASE = ("numpy", "scipy", "SimpleITK", "filelock", "platformdirs", "rich", "pydicom", "nibabel", "highdicom")
ENGINE = ("torch", "torchvision", "segment_anything", "h5py", "safetensors", "sklearn")
PROBE_TIMEOUT_S = 180
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")

# Runs in a process of its own: a broken torch may raise, hang or crash. A line per package shows where.
PROBE = """
import importlib, importlib.metadata, json, sys
def report(**facts):
    print(json.dumps(facts), flush=True)
for name, distribution in (each.split("=") for each in sys.argv[1:]):
    report(begin=name)
    try:
        importlib.import_module(name)
        report(package=name, version=importlib.metadata.version(distribution))
    except Exception as error:
        report(package=name, error=f"{type(error).__name__}: {error}", missing=getattr(error, "name", None) == name)
import torch
for number in range(torch.cuda.device_count()):
    free, total = torch.cuda.mem_get_info(number)
    name = torch.cuda.get_device_name(number)
    report(device=f"cuda:{number} {name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
if torch.backends.mps.is_available():
    report(device="mps (Apple)")
report(device=f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `problem` says what to do, "" if all is well."""

    name: str
    text: str
    problem: str = ""


def doctor(options: argparse.Namespace) -> int:
    """`fewshotsam doctor`: 0 if everything needed is there, else 1."""
    findings = [
        Finding("FewShotSAM", f"{__version__} in {Path(__file__).parents[1]}"),
        Finding("Python", f"{platform.python_version()} at {sys.executable}"),
        Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        *probe_packages((*BASE, *ENGINE)),
        Finding("processor", _processor()),
        Finding("memory", _free_memory()),
        *_models(),
        _cache(),
        Finding("logs", str(log_folder())),
    ]
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "PROBLEM" if finding.problem else "ok"
        print(f"{mark:<8}{finding.name:<{width}}  {' '.join(f'{finding.text} {finding.problem}'.split())}")
    return 1 if any(finding.problem for finding in findings) else 0


def probe_packages(names: tuple[str, ...], python: str = sys.executable) -> list[Finding]:
    """Import each package, and look for devices, in another process; a package that crashes it is reported, too."""
    findings: list[Finding] = []
    left = list(names)
    while left:
        said, crash = _probe(left, python)
        findings += [_package_finding(fact) for fact in said if "package" in fact]
        findings += [Finding("device", fact["device"]) for fact in said if "device" in fact]
        begun = [fact["begin"] for fact in said if "begin" in fact]
        done = {fact["package"] for fact in said if "package" in fact}
        left = [name for name in left if name not in begun]
        if begun and begun[-1] not in done:
            findings.append(Finding(begun[-1], f"crashes Python when imported ({crash}).", _install_hint(begun[-1])))
        elif not begun:
            findings.append(Finding("Python", f"cannot run a script ({crash}).", "Install Python again."))
            break
    return findings


def _probe(names: list[str], python: str) -> tuple[list[dict[str, Any]], str]:
    """The output of the probe, line by line, and how it ended."""
    command = [python, "-P", "-c", PROBE, *(f"{name}={distribution_of(name)}" for name in names)]
    try:
        process = subprocess.run(
            command, capture_output=True, env=worker_environment(), timeout=PROBE_TIMEOUT_S, check=False
        )
        output, end = process.stdout, f"exit code {process.returncode}"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"no answer in {PROBE_TIMEOUT_S} s"
    except OSError as error:
        output, end = b"", str(error)
    lines = output.decode("utf-8", "replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")], end


def _package_finding(fact: dict[str, Any]) -> Finding:
    name = fact["package"]
    if "error" not in fact:
        return Finding(name, fact["version"])
    text = "is not installed." if fact["missing"] else f"cannot be imported ({fact['error']})."
    return Finding(name, text, _install_hint(name))


def _install_hint(name: str) -> str:
    return "Run: pip install 'fewshotsam[engine]'" if name in ENGINE else f"Run: pip install {distribution_of(name)}"


def _processor() -> str:
    """Number of cores, and the instruction sets that matter to torch, as far as the system lists them."""
    flags: set[str] = set()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    features = [feature for feature in CPU_FEATURES if feature in flags]
    return f"{os.cpu_count()} cores {' '.join(features)}"


def _free_memory() -> str:
    if not Path("/proc/meminfo").is_file():
        return "unknown on this system"
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return f"{kilobytes['MemAvailable'] / 1e6:.1f} of {kilobytes['MemTotal'] / 1e6:.1f} GB free"


def _models() -> list[Finding]:
    """Each encoder's file. A missing one is not a problem, a damaged one is."""
    try:
        from FewShotSAMLib.sam.model_files import status

        entries = status()
    except (ImportError, FileNotFoundError) as error:
        return [Finding("models", f"cannot be listed ({error}).", "Install FewShotSAM again.")]
    hints = {"wrong size": "Delete the file and download it again."}
    return [Finding(f"model {e.spec.name}", f"{e.state} {e.path}", hints.get(e.state, "")) for e in entries]


def _cache() -> Finding:
    try:
        from FewShotSAMLib.sam.cache import EmbeddingCache

        cache = EmbeddingCache()
        used = cache.usage()
        free = shutil.disk_usage(next(each for each in (cache.folder, *cache.folder.parents) if each.exists())).free
    except (ImportError, OSError, FewShotSAMError) as error:
        return Finding("cache", f"cannot be read ({error}).", "Install what is missing above, or run with --no-cache.")
    return Finding("cache", f"{used / 1e9:.2f} GB in {cache.folder}, {free / 1e9:.0f} GB free on that disk")
