"""The short form of `make faults`: some kills, every error of the disk while outputs are written, mutated files."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brief import be_brief
from Faults import disk, fuzz, work
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import wait_until

import FewShotSAMLib
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path, atomic_paths
from FewShotSAMLib.core.image_io import write_image, write_picture
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import write_segmentation
from FewShotSAMLib.worker.client import WorkerClient, WorkerDiedError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked and killed")
TESTING = Path(__file__).resolve().parents[1]
SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def test_every_error_of_the_disk_names_the_output_and_changes_nothing(tmp_path: Path) -> None:
    names = ("a.seg.nrrd", "b.npy", "c.json")
    paths = [tmp_path / name for name in names]
    _, truth = ct_phantom((4, 20, 24), seed=3)

    def write(text: str) -> None:
        with atomic_paths(paths) as temporaries:
            write_segmentation(truth, temporaries[0])
            with atomic_path(temporaries[1]) as path, path.open("wb") as stream:
                np.save(stream, np.arange(5))
            with atomic_path(temporaries[2]) as path:
                path.write_text(text)

    write("earlier")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with disk.failing(tmp_path, None) as counted:
        write("earlier")
    assert len(counted.calls) > 30 and {"fsync", "replace", "link", "unlink", "write", "io.close"} <= set(counted.calls)
    outcomes: Counter[str] = Counter()
    for number, call in enumerate(counted.calls):
        with disk.failing(tmp_path, number), pytest.raises(BadInputError) as caught:
            write("later")
        told = caught.value.message
        assert caught.value.exit_code == 2 and any(name in told for name in names), (number, call, told)
        outcome = "complete" if "written and complete" in told else "refused"
        now = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in names}
        assert now == ({**before, "c.json": b"later"} if outcome == "complete" else before), (number, call, told)
        for left in set(tmp_path.iterdir()) - set(paths):  # where deleting it was what failed
            assert call == "unlink" and str(left) in told.partition("Left behind: ")[2], (number, call, told)
            left.unlink()
        outcomes[outcome] += 1
        paths[2].write_bytes(before["c.json"])
    assert outcomes["refused"] > 25 and outcomes["complete"] >= 5, outcomes


ALONE = """
import sys
from collections import Counter
from pathlib import Path
import brief
from Faults import calls, kills, tree, work
brief.be_brief()
folder = Path(sys.argv[1])
jobs = {job.command: job for job in work.jobs(folder)}
tree.adopt_orphans()
found = Counter(left for *_, left in kills.in_each_stage([jobs["propagate"], jobs["save_model"]], 6, practice=0))
if calls.is_there():
    found.update(left for _, left in calls.killed(jobs["save_model"], ("rename",)))
    found.update(left for _, left in calls.failed(jobs["save_model"], ("write", "fsync", "rename", "chmod")))
print(dict(found))
sys.exit(not {"old", "new"} <= found.keys() or bool(found.keys() - {"old", "new", "refused", "complete"}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, killed and traced as Linux does it")
def test_kills_and_errors_at_system_calls_leave_old_or_new(tmp_path: Path) -> None:
    paths = (TESTING, TESTING / "Python", TESTING.parent)  # in a process without threads, which can be forked
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", ALONE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def content() -> bytes:
    """A few-shot model."""
    volume, truth = ct_phantom((8, 40, 48), seed=3)
    painted = keep_slices(truth, 0, (2, 5), ("liver",))
    with pytest.MonkeyPatch.context() as changes:
        be_brief(changes.setattr)
        return FewShotSAMLib.propagate(volume, painted, steps=0, no_cache=True, device="cpu").model.content


@given(seed=SEEDS)
@FEW
def test_mutated_models(content: bytes, seed: int) -> None:
    assert fuzz.model(content, seed) in ("refused", "unchanged")


@given(seed=SEEDS)
@FEW
def test_mutated_lines(seed: int) -> None:
    assert fuzz.line(seed) in ("read", "refused")


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii", "a.nii.gz", "a.png", "a.jpg"])
def test_what_a_full_disk_cut_off_is_never_taken_for_written(name: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    volume, _ = ct_phantom((4, 20, 24), seed=3)
    path, picture = tmp_path / name, np.random.default_rng(0).integers(0, 255, (9, 8, 3), np.uint8)

    def write() -> None:
        if path.suffix in (".png", ".jpg"):
            with atomic_path(path) as temporary:
                write_picture(picture, temporary, 85 if path.suffix == ".jpg" else -1)
        else:
            write_image(volume.voxels, volume.geometry, path)

    write()
    size, before = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (0, 1, 300, size // 2, size - 5, size - 1):
        path.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))  # as a full disk, for all that is written
        try:
            with pytest.raises(BadInputError) as caught:
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert name in caught.value.message and not list(tmp_path.iterdir()), most


def test_mutated_small_files(tmp_path: Path) -> None:
    for name, one in fuzz.small_files(tmp_path).items():
        for seed in range(12):
            assert one(seed) in fuzz.GOOD, (name, seed, one(seed))


def test_a_killed_background_process_leaves_old_outputs_and_no_process(tmp_path: Path) -> None:
    parameters: dict[str, Any] = work.prepare(tmp_path)
    with WorkerClient() as client:
        client.start()
        before, pid = work.marks(tmp_path / "out"), client.pid

        def kill(event: dict[str, Any]) -> None:
            if event.get("stage") == "predict":
                os.kill(pid, signal.SIGKILL)

        with pytest.raises(WorkerDiedError):
            client.wait(client.request("propagate", parameters), kill)
    assert wait_until(lambda: work.verdict(before, tmp_path / "out") == "old", 20)
