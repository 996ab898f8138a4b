"""What the background process caches for a file is tied to the file's content."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.core import identity
from FewShotSAMLib.core.identity import FileIdentity, files_of_volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.warm import warm_volume

DATA = {"nhdr": "raw", "mhd": "raw", "hdr": "img", "nrrd": "nrrd"}
"""Endings of a header's file, and of that with the voxels."""


def written(folder: Path, voxels: np.ndarray, ending: str = "nrrd") -> tuple[Path, Path]:
    """Write the files of a volume, header and voxels, and return them."""
    header = folder / f"a.{ending}"
    if ending == "hdr":
        nibabel.save(nibabel.Nifti1Pair(voxels.T, np.eye(4)), header)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(header), False)
    return header, folder / f"a.{DATA[ending]}"


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (3, 8, 9), dtype=np.int16)


def _change(file: Path) -> None:
    """Change the last voxel, keeping size and time."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    with file.open("r+b") as stream:
        stream.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("ending", DATA)
@pytest.mark.parametrize("is_old", [True, False])
def test_a_changed_data_file_is_read_again(
    ending: str, is_old: bool, voxels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, data = written(tmp_path, voxels, ending)
    if is_old:  # old enough for its time to be conclusive
        monkeypatch.setattr(identity, "YOUNG_NS", -(10**18))
    context = JobContext()
    first = warm_volume(header, context)
    assert warm_volume(header, context) is first
    _change(data)
    second = warm_volume(header, context)
    assert second is not first and second.content_hash != first.content_hash


def test_a_file_replaced_by_another_of_the_same_size_and_time_is_read_again(voxels: np.ndarray, tmp_path: Path) -> None:
    header, _ = written(tmp_path, voxels)
    (tmp_path / "other").mkdir()
    other, _ = written(tmp_path / "other", voxels[::-1].copy())
    context = JobContext()
    first, facts = warm_volume(header, context), header.stat()
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(header)
    assert header.stat().st_size == facts.st_size
    assert warm_volume(header, context).content_hash != first.content_hash


def test_a_volume_changed_while_it_is_read_is_not_remembered(voxels: np.ndarray, tmp_path: Path) -> None:
    header, data = written(tmp_path, voxels, "nhdr")
    known = FileIdentity(files_of_volume(header) or ())
    assert known.is_same()
    _change(data)
    assert not known.is_same()
    data.unlink()
    assert not known.is_same()
    data.symlink_to(data)
    assert not known.is_same(), "a link that leads nowhere"
    with pytest.raises(OSError):
        FileIdentity([data])


def test_doubt_ends_with_time(voxels: np.ndarray, tmp_path: Path) -> None:
    header, data = written(tmp_path, voxels)
    now = [header.stat().st_ctime_ns]
    known = FileIdentity([header], lambda: now[0])
    assert not known.is_certain
    now[0] += identity.YOUNG_NS + 1
    assert known.is_same() and known.is_certain
    _change(data)
    assert not known.is_same()


def test_volumes_whose_files_cannot_be_told_are_not_remembered(voxels: np.ndarray, tmp_path: Path) -> None:
    header, data = written(tmp_path, voxels, "nhdr")
    text = header.read_bytes()
    header.write_bytes(text.replace(b"data file: a.raw", b"data file: LIST\na.raw"))
    assert files_of_volume(header) == (header, data)
    header.write_bytes(text.replace(b"data file: a.raw", b"data file: a%02d.raw 1 3 1"))
    assert files_of_volume(header) is None
    header.write_bytes(text)
    assert files_of_volume(header) == (header, data)
