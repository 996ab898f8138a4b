"""Files and folders whose permissions do not allow reading: said so, never taken for absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from core.dicom_files import write_series

from FewShotSAMLib.cohort.find import read_plan
from FewShotSAMLib.cohort.plan import PlanDefaults
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.volume import read_volume

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
VOXELS = np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8)
NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Become a user whom permissions bind, as they do not bind root."""
    before = os.geteuid()
    if before == 0:
        os.setresuid(NOBODY, NOBODY, before)
    try:
        yield
    finally:
        if before == 0:
            os.setresuid(before, before, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a DICOM series, which others may read."""
    for each in (tmp_path, *tmp_path.parents):
        if each.name.startswith(("test_", "pytest-", "popen-")):
            each.chmod(0o755)
    series = tmp_path / "series"
    series.mkdir()
    write_series(series, VOXELS)
    read_volume(series)  # packages are loaded as long as all may be read
    return series


def test_a_folder_that_cannot_be_listed_is_not_empty(folder: Path) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0)
    with unprivileged():
        for where in (folder, locked):
            for read in (read_volume, read_segmentation):
                with pytest.raises(BadInputError, match=r"locked cannot be read \(Permission denied\)"):
                    read(where)


def test_slices_that_cannot_be_read_may_be_missing(folder: Path) -> None:
    first = min(folder.iterdir())
    locked = first.rename(folder / "without-suffix")
    locked.chmod(0)
    with unprivileged():
        volume = read_volume(folder)
    assert len(volume.voxels) == 3
    assert any("unreadable" in each and "Slices may be missing" in each for each in volume.warnings)


def test_a_series_of_which_nothing_can_be_read_is_not_of_another_kind(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0)
    with unprivileged(), pytest.raises(BadInputError, match="permissions of 4 files") as caught:
        read_volume(folder)
    assert caught.value.hint == "Check the permissions of the files."


@pytest.mark.parametrize("pattern", ["", "*", "*/*.nrrd", "**/*.nrrd"])
def test_a_cohort_leaves_no_patient_out_silently(folder: Path, pattern: str) -> None:
    (folder.parent / "second").mkdir(mode=0)
    with unprivileged(), pytest.raises(BadInputError, match="second do not allow reading"):
        read_plan(folder.parent, PlanDefaults(Path("m.fewshot"), pattern=pattern), folder / "results")


def test_a_pattern_passes_over_what_it_does_not_match(folder: Path) -> None:
    (folder.parent / "lost+found").mkdir(mode=0)
    with unprivileged():
        rows = read_plan(folder.parent, PlanDefaults(Path("m.fewshot"), pattern="seri*"), folder / "results")
    assert [row.volume for row in rows] == [folder]
