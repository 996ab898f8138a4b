"""Shared by all tests: where the real labelled volumes are, and separate folders for caches, models and logs."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm import WarmClient

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: as in the background process, see worker/process.py

REPOSITORY = Path(__file__).resolve().parents[2]


LONGEST_FIRST = (
    *("test_in_pyqt5.py", "test_in_pyside6.py", "test_interruptions.py", "test_earlier.py", "test_jobs.py"),
    *("test_train.py", "test_real_rows.py", "test_guided.py", "test_pretended_cuda.py", "test_learns_well.py"),
    *("test_what_trains.py", "test_methods.py", "test_learned.py", "test_faults.py", "test_regions.py"),
    *("test_corrections.py", "test_ray_pool.py", "test_api.py", "test_volume_network.py", "test_session.py"),
    *("test_segments_apart.py", "test_image_training.py", "test_scripting.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process waits for another at the end (`make test`)."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


gc.disable()  # all that is imported and collected stays: to look through it time and again takes a tenth of the time


def pytest_collection_finish() -> None:
    """From here on there may be garbage, but not among that."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled volumes (`tasks.toml` in it); the test is skipped where it is absent."""
    folder = Path(os.environ.get("FEWSHOTSAM_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "tasks.toml").is_file():
        pytest.skip(f"no labelled volumes at {folder} (set FEWSHOTSAM_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def worker_python() -> str:
    """The Python of the background process, where the one that runs the tests has no torch, as Slicer's has none."""
    return os.environ.get("FEWSHOTSAM_TEST_WORKER", sys.executable)


@pytest.fixture(scope="session")
def warm_process(tmp_path_factory: pytest.TempPathFactory, worker_python: str) -> Iterator[WarmClient]:
    """The background process of all tests that need none of their own."""
    made = WarmClient(worker_python, tmp_path_factory.mktemp("home"))
    yield made
    made.end()


@pytest.fixture
def warm_client(warm_process: WarmClient, request: pytest.FixtureRequest) -> Iterator[WarmClient]:
    """It; a run takes the file's STEPS of learning, where it has such."""
    warm_process.steps = getattr(request.module, "STEPS", None)
    yield warm_process
    warm_process.close()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process are brief: see there."""
    from brief import be_brief

    be_brief(monkeypatch.setattr)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or fills the user's own caches, models and logs."""
    home = tmp_path_factory.mktemp("fewshotsam-home")
    monkeypatch.setenv("FEWSHOTSAM_HOME", str(home))
    monkeypatch.setenv("FEWSHOTSAM_CACHE", str(home / "cache"))
    return home
