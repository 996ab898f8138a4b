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
    """Start the longest tests first, so that no process waits for another at the end (`make test`)."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


gc.disable()  # imported and collected objects stay; scanning them repeatedly takes a tenth of the time


def pytest_collection_finish() -> None:
    """Turn garbage collection on, but exempt the objects that exist so far."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled volumes (with `tasks.toml`); skips the test if it is absent."""
    folder = Path(os.environ.get("FEWSHOTSAM_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "tasks.toml").is_file():
        pytest.skip(f"no labelled volumes at {folder} (set FEWSHOTSAM_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def worker_python() -> str:
    """The background process's Python, if the one that runs the tests lacks torch, as Slicer's does."""
    return os.environ.get("FEWSHOTSAM_TEST_WORKER", sys.executable)


@pytest.fixture(scope="session")
def warm_process(tmp_path_factory: pytest.TempPathFactory, worker_python: str) -> Iterator[WarmClient]:
    """The background process shared by all tests that need none of their own."""
    made = WarmClient(worker_python, tmp_path_factory.mktemp("home"))
    yield made
    made.end()


@pytest.fixture
def warm_client(warm_process: WarmClient, request: pytest.FixtureRequest) -> Iterator[WarmClient]:
    """That process; a run takes the test file's STEPS of learning, if the file has such."""
    warm_process.steps = getattr(request.module, "STEPS", None)
    yield warm_process
    warm_process.close()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes runs in this process brief: see the module of that name."""
    from brief import be_brief

    be_brief(monkeypatch.setattr)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps tests away from the user's own caches, models and logs."""
    home = tmp_path_factory.mktemp("fewshotsam-home")
    monkeypatch.setenv("FEWSHOTSAM_HOME", str(home))
    monkeypatch.setenv("FEWSHOTSAM_CACHE", str(home / "cache"))
    return home
