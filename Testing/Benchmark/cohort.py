"""Measures `fewshotsam cohort` on synthetic volumes; docs/cohort.md has the results.

    python Testing/Benchmark/cohort.py make FOLDER [--count 200]          volumes of 128 × 128 × 40 and two models
    python Testing/Benchmark/cohort.py run FOLDER --processes 2 [--ray local] [--broken]
    python Testing/Benchmark/cohort.py faults FOLDER                      ten broken files, killed processes and drivers
    unshare -m python Testing/Benchmark/cohort.py disk FOLDER             a disk that fills up, then gets more space
    python Testing/Benchmark/cohort.py node FOLDER                        a Ray cluster of two nodes, one is killed

`run` prints rows per minute, seconds and processor seconds per row at its beginning and its end, and the memory of each
process. The others compare all results with those of the first `run`, in FOLDER/results-1, voxel by voxel, and check
that a final call does nothing.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation

SHAPE = (40, 128, 128)
ORGANS = ("liver", "spleen", "left kidney")
BROKEN = 10


def make(folder: Path, count: int) -> None:
    """Write volumes and two models learned on the first: one with its image, to register others, and a cheap one."""
    volumes = folder / "volumes"
    volumes.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        volume, truth = ct_phantom(SHAPE, seed)
        write_image(volume.voxels, volume.geometry, volumes / f"case-{seed:04}.nii.gz")
        if seed == 0:
            write_segmentation(keep_slices(truth, 0, (12, 19, 26), ORGANS), folder / "painted.seg.nrrd")
    for name, extra in (("registers.fewshot", ["--steps", "20"]), ("cheap.fewshot", ["--method", "pixel-classifier"])):
        fewshotsam(
            *("propagate", volumes / "case-0000.nii.gz", folder / "painted.seg.nrrd", "-o", folder / "first.seg.nrrd"),
            *("--save-model", folder / name, "-q", *extra),
        )


def fewshotsam(*arguments: object, check: bool = True) -> int:
    """Run the command line."""
    code = subprocess.call([sys.executable, "-m", "FewShotSAMLib", *map(str, arguments)])
    if check and code:
        sys.exit(f"exit code {code}")
    return code


def plan(folder: Path, count: int, model: str, broken: bool, slices: str) -> Path:
    """Write a table of volumes; with `broken`, ten of them are damaged, truncated, empty or missing."""
    lines = ["volume,model,output,range"]
    bad = set(range(5, count, count // BROKEN)) if broken else set()
    for number, volume in enumerate(sorted((folder / "volumes").glob("*.nii.gz"))[:count]):
        path = volume
        if number in bad:
            path = folder / "broken" / volume.name
            path.parent.mkdir(exist_ok=True)
            content = volume.read_bytes()
            holes = content[:400] + b"\0" * 4000 + content[4400:]
            kinds = (content[: len(content) // 2], b"", None, holes, b"no volume")
            path.unlink(missing_ok=True)
            if (broken_content := kinds[sorted(bad).index(number) % len(kinds)]) is not None:
                path.write_bytes(broken_content)
        lines.append(f"{path},{folder / model},row-{number:04},{slices}")
    table = folder / ("plan-broken.csv" if broken else f"plan-{model}-{count}.csv")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


class Memory:
    """Resident memory of the background processes over time, MiB, and the processor time that each has used."""

    def __init__(self) -> None:
        self.seen: dict[int, list[int]] = {}
        self.cpu_s: dict[int, float] = {}
        self.of = f"{os.getpid()}"

    def look(self) -> None:
        """Record what each process uses now."""
        for status in Path("/proc").glob("[0-9]*"):
            try:
                if b"FewShotSAMLib.worker" not in (status / "cmdline").read_bytes():
                    continue
                held = re.search(r"VmRSS:\s+(\d+)", (status / "status").read_text())
                environment = (status / "environ").read_bytes()
                times = (status / "stat").read_text().rpartition(")")[2].split()[11:13]
            except OSError:
                continue
            if held and f"FEWSHOTSAM_MEASURED={self.of}".encode() in environment:
                self.seen.setdefault(int(status.name), []).append(int(held[1]) // 1024)
                self.cpu_s[int(status.name)] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def run(folder: Path, options: argparse.Namespace) -> None:
    """Measure one run."""
    output = folder / (options.output or f"results-{options.processes}{'-ray' if options.ray else ''}")
    shutil.rmtree(output, ignore_errors=True)
    table = plan(folder, options.count, options.model, options.broken, options.slices)
    command = [sys.executable, "-m", "FewShotSAMLib", "cohort", str(table), "-o", str(output), "--json", "-", "-q"]
    command += ["--device", "cpu", "--processes", str(options.processes)]
    command += ["--ray", options.ray] if options.ray else []
    memory, times, cpu_s = Memory(), list[float](), list[float]()
    begun = time.monotonic()
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "FEWSHOTSAM_MEASURED": str(os.getpid())},
    )
    rows = []
    for line in child.stdout:
        rows.append(json.loads(line))
        times.append(time.monotonic() - begun)
        memory.look()
        cpu_s.append(sum(memory.cpu_s.values()))
    code = child.wait()
    good = [row["report"]["seconds"]["total"] for row in rows if row["type"] == "result"]
    quarter = max(1, len(rows) // 4)
    pace = 60 * (len(times) - quarter) / (times[-1] - times[quarter - 1])
    early, late = good[quarter : 2 * quarter], good[-quarter:]
    print(f"exit code {code}; {len(good)} good rows of {len(rows)}, {time.monotonic() - begun:.0f} s in all")
    print(f"rows per minute after the first quarter: {pace:.1f}; load {os.getloadavg()[0]:.1f}")
    ends = [number * (len(rows) - 1) // 4 for number in range(5)]
    spent = [(cpu_s[end] - cpu_s[start]) / (end - start) for start, end in itertools.pairwise(ends)]
    print(f"processor seconds a row by quarters: {', '.join(f'{each:.3f}' for each in spent)}")
    print(f"median seconds a row: second quarter {statistics.median(early):.3f}, last {statistics.median(late):.3f}")
    for pid, held in memory.seen.items():
        after = held[len(held) // 4 :]
        print(f"process {pid}: {min(after)} to {max(after)} MiB, at the end {held[-1]}, {memory.cpu_s[pid]:.0f} s")


def command_of(folder: Path, table: Path, *more: str) -> list[str]:
    """Return the command line of a run into this folder."""
    start = [sys.executable, "-m", "FewShotSAMLib", "cohort", str(table), "-o", str(folder), "-q"]
    return [*start, "--device", "cpu", "--processes", "2", *more]


def workers_of(driver: subprocess.Popen[bytes]) -> list[int]:
    """Return the ids of the background processes that a driver started."""
    text = "".join(path.read_text() for path in Path(f"/proc/{driver.pid}/task").glob("*/children"))
    return [int(pid) for pid in text.split()]


def results(folder: Path) -> dict[str, int]:
    """Return the existing results and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("row-????.seg.nrrd")}


def check(folder: Path, right: Path, missing: int, command: list[str]) -> None:
    """Check that results equal the undisturbed run's, no partial files are left, and another call changes nothing."""
    found, wanted = results(folder), results(right)
    wrong = [
        name
        for name in found
        if not np.array_equal(read_segmentation(folder / name).layers, read_segmentation(right / name).layers)
    ]
    left = [path.name for path in folder.rglob("*.partial-*")]
    print(f"{len(found)} of {len(wanted)} results, {len(wrong)} differ, half-written files: {left}")
    begun = time.monotonic()
    code = subprocess.call(command, stderr=subprocess.DEVNULL)
    same = results(folder) == found
    print(f"another call: exit code {code}, {time.monotonic() - begun:.0f} s, nothing changed: {same}")
    if wrong or left or not same or len(found) != len(wanted) - missing:
        sys.exit("the check failed")


def faults(folder: Path, options: argparse.Namespace) -> None:
    """Run with ten broken files, killing a background process every 15 rows and the driver every 60."""
    output = folder / "faults"
    shutil.rmtree(output, ignore_errors=True)
    table = plan(folder, options.count, options.model, True, options.slices)
    command = command_of(output, table)
    kills = drivers = 0
    while True:
        there = len(results(output))
        driver, next_kill, end = subprocess.Popen(command, stderr=subprocess.DEVNULL), there + 8, there + 60
        while driver.poll() is None:
            there = len(results(output))
            if there >= end:
                driver.kill()
            elif there >= next_kill and (workers := workers_of(driver)):
                next_kill = there + 15
                os.kill(workers[kills % len(workers)], signal.SIGKILL)
                kills += 1
            time.sleep(0.1)
        drivers += driver.returncode == -signal.SIGKILL
        if driver.returncode != -signal.SIGKILL:
            break
        time.sleep(2)
    print(f"{kills} kills of background processes, {drivers} of the driver; exit code at the end {driver.returncode}")
    print(f"one more call, undisturbed: {subprocess.call(command, stderr=subprocess.DEVNULL)}")
    check(output, folder / "results-1", BROKEN, command)


def disk(folder: Path, options: argparse.Namespace) -> None:
    """Run with the results on a separate disk, too small at first; only in a mount namespace of its own."""
    output = folder / "disk"
    output.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(output)], check=True)
    table = plan(folder, options.count, options.model, False, options.slices)
    command = command_of(output, table)
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    print(f"full after {len(results(output))} results: exit code {ended.returncode}, {ended.stderr.strip()}")
    subprocess.run(["mount", "-o", "remount,size=200m", str(output)], check=True)
    print(f"with room: exit code {subprocess.call(command)}")
    check(output, folder / "results-1", 0, command)


def node(folder: Path, options: argparse.Namespace) -> None:
    """Run on two nodes of one core each; one is killed after a fifth of the rows."""
    from ray.cluster_utils import Cluster

    output = folder / "node"
    shutil.rmtree(output, ignore_errors=True)
    table = plan(folder, options.count, options.model, False, options.slices)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1, memory=4 << 30)
    command = command_of(output, table, "--ray", cluster.address)
    driver = subprocess.Popen(command)
    while len(results(output)) < options.count // 5:
        time.sleep(0.2)
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    print(f"killed after {len(results(output))} results; exit code {driver.wait()}")
    check(output, folder / "results-1", 0, command)
    cluster.shutdown()


def main() -> None:
    """Run this script's command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "run", "faults", "disk", "node"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--model", default="cheap.fewshot")
    parser.add_argument("--slices", default="", help="predict only these, such as 18-21, for cheap rows")
    parser.add_argument("--ray")
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--output")
    options = parser.parse_args()
    if options.what == "make":
        make(options.folder.absolute(), options.count)
    else:
        {"run": run, "faults": faults, "disk": disk, "node": node}[options.what](options.folder.absolute(), options)


if __name__ == "__main__":
    main()
