"""A volume read for another process: what crashes a reader is refused first, and only files in the folder are read."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.volume import read_volume as read
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.worker.reading import read_volume

LONG = b"domain " * 3000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A served folder with a volume of each kind, in one and in two files; another file lies outside the folder."""
    served = tmp_path / "served"
    served.mkdir()
    image = SimpleITK.GetImageFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6))
    for name in ("a.nrrd", "a.mha", "b.nhdr", "c.mhd"):
        SimpleITK.WriteImage(image, str(served / name), False)
    (tmp_path / "outside.raw").write_bytes((served / "b.raw").read_bytes())
    return served


def test_what_comes_back_is_the_volume(folder: Path, tmp_path: Path) -> None:
    for name in ("a.nrrd", "a.mha", "b.nhdr", "c.mhd"):
        output = tmp_path / "voxels.npy"
        parameters = {"path": str(folder / name), "output": str(output), "inside": str(folder)}
        report = read_volume(parameters, JobContext())
        expected = read(folder / name)
        np.testing.assert_array_equal(np.load(output), expected.voxels)
        assert Geometry.from_json(report["geometry"]) == expected.geometry
        assert (report["name"], report["modality"], report["warnings"]) == (expected.name, "", [])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.nrrd", b"kinds: domain domain domain", b"kinds: " + LONG),
        ("a.nrrd", b"sizes: 6 5 4", b"sizes: 6 5 4" + b" " * 20000),
        ("a.nrrd", b"kinds: domain domain domain", b"units: " + b'"mm" ' * 3000),
        ("a.nrrd", b"space directions: ", b"space directions: " + b"(1,0,0) " * 3000),
        ("a.nrrd", b"endian: little", b"measurement frame: " + b"(1,0,0) " * 3000),
        ("a.nrrd", b"endian: little", b"\n".join(b"k%d:=x" % number for number in range(30000))),
        ("a.nrrd", b"endian: little", b"k:=" + b"x" * (2 << 20)),
        ("a.mha", b"NDims = 3", b"NDims = -1"),
        ("a.mha", b"NDims = 3", b"NDims = 100"),
        ("a.mha", b"NDims = 3", b"NDims = 2000000000"),
        ("a.mha", b"NDims = 3", b"NDims = 99999999999999999999"),
        ("a.mha", b"NDims = 3", b"NDims = 1e9"),
        ("a.mha", b"DimSize = 6 5 4", b"DimSize = 6 5"),
        ("a.mha", b"DimSize = 6 5 4", b"DimSize = 6 5 4 " + b"1 " * 3000),
    ],
)
def test_headers_that_crash_their_reader_are_refused(name: str, old: bytes, new: bytes, folder: Path) -> None:
    content = (folder / name).read_bytes()
    assert old in content
    (folder / name).write_bytes(content.replace(old, new))
    with pytest.raises(BadInputError) as caught:  # a crash would end the tests
        read(folder / name)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("named", ["../outside.raw", "LIST\n../outside.raw", "../out%cide.raw 115 115 1", "link"])
def test_no_data_file_lies_outside(named: str, folder: Path, tmp_path: Path) -> None:
    if named == "link":
        (folder / named).symlink_to("../outside.raw")
    (folder / "b.nhdr").write_bytes((folder / "b.nhdr").read_bytes().replace(b"b.raw", named.encode()))
    parameters = {"path": str(folder / "b.nhdr"), "output": str(tmp_path / "v.npy"), "inside": str(folder)}
    with pytest.raises(BadInputError, match=r"outside the served folder|by a pattern"):
        read_volume(parameters, JobContext())
    assert not (tmp_path / "v.npy").exists()


def test_no_slice_of_a_series_lies_outside(folder: Path, tmp_path: Path) -> None:
    (folder / "series").mkdir()
    (folder / "series" / "1.dcm").symlink_to(tmp_path / "outside.raw")
    parameters = {"path": str(folder / "series"), "output": str(tmp_path / "v.npy"), "inside": str(folder)}
    with pytest.raises(BadInputError, match="outside the served folder"):
        read_volume(parameters, JobContext())


def test_pipes_devices_and_claims_are_refused_at_once(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "pipe.nrrd")
    (folder / "null.nrrd").symlink_to("/dev/zero")
    claims = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 1200 1200 1200\nencoding: gzip\n\n"
    (folder / "claims.nrrd").write_bytes(claims + os.urandom(55_000))
    os.mkfifo(folder / "d.raw")
    (folder / "d.nhdr").write_bytes((folder / "b.nhdr").read_bytes().replace(b"b.raw", b"d.raw"))
    for name in ("pipe.nrrd", "null.nrrd", "claims.nrrd", "d.nhdr"):
        with pytest.raises(BadInputError):
            read(folder / name)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume that takes more than a second to read, from a small file."""
    voxels = np.zeros((400, 512, 512), np.int16)
    voxels[0, 0, 0] = 1
    path = tmp_path_factory.mktemp("large") / "large.nrrd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(path), True)
    return path


def wait_until_open(process: int | None, path: Path) -> None:
    """Wait until a process has a file open."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for each in Path(f"/proc/{process}/fd").iterdir():
            try:
                if each.readlink() == path:
                    return
            except OSError:
                continue
    raise AssertionError(f"{path} is not read")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", ["cancel", "SIGKILL", "SIGSEGV", "SIGBUS"])
def test_reading_is_cancelled_or_killed(how: str, large: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "v.npy"
    output.parent.mkdir()
    with WorkerClient() as client:
        request = client.request("read_volume", {"path": str(large), "output": str(output)})
        wait_until_open(client.pid, large)
        begun = time.monotonic()
        if how == "cancel":
            client.cancel(request)
        else:
            os.kill(client.pid, signal.Signals[how])
        with pytest.raises(CancelledError if how == "cancel" else FewShotSAMError) as caught:
            client.wait(request)
        assert time.monotonic() - begun < 8
        assert how == "cancel" or str(large) in str(caught.value)
        assert how == "SIGKILL" or isinstance(caught.value, CancelledError | BadInputError)
        client.start()
        small = tmp_path / "small.mha"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.arange(24.0).reshape(2, 3, 4)), str(small))
        client.wait(client.request("read_volume", {"path": str(small), "output": str(output)}))
    assert [path.name for path in output.parent.iterdir()] == ["v.npy"]


def _series(folder: Path, count: int, rows: int) -> Path:
    """Slices that claim to have that many rows and columns."""
    from core import dicom_files

    (folder / "series").mkdir()
    dicom_files.write_series(folder / "series", np.arange(count * 64, dtype=np.int16).reshape(count, 8, 8))
    for path in sorted((folder / "series").iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = rows
        dataset.save_as(path)
    return folder / "series"


def test_a_series_tells_each_file_and_is_cancelled_between_them(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    series = _series(tmp_path, 12, 8)
    assert read(series, lambda done, total: told.append((done, total))).voxels.shape == (12, 8, 8)
    assert told == [(done, 24) for done in range(24)]
    for limit in (0, 5, 12, 20):
        looked = []

        def step(done: int, total: int, limit: int = limit, looked: list[int] = looked) -> None:
            looked.append(done)
            if done == limit:
                raise CancelledError("The run was cancelled.")

        with pytest.raises(CancelledError):
            read(series, step)
        assert len(looked) == limit + 1


@pytest.mark.parametrize("rows", [9000, 40_000, 65_535])
@pytest.mark.parametrize("packed", [False, True])
def test_a_series_that_claims_gigabytes_is_refused_quickly(rows: int, packed: bool, tmp_path: Path) -> None:
    series = _series(tmp_path, 100, rows)
    if packed:
        for path in series.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
            dataset.PixelData = pydicom.encaps.encapsulate([b"\1" + bytes(63) + bytes(64)])
            dataset["PixelData"].VR = "OB"
            dataset.save_as(path)
    begun = time.monotonic()
    with pytest.raises(BadInputError) as caught:
        read(series)
    assert time.monotonic() - begun < 10 and str(series) in str(caught.value)


def test_sparse_files_and_devices(tmp_path: Path) -> None:
    """A 100 GB file that takes no disk space, by itself and as the data of a header; things that are not files."""
    sizes = "5000 5000 2000"
    head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: raw\nendian: little\n"
    (tmp_path / "whole.nrrd").write_bytes(f"{head}\n".encode())
    (tmp_path / "apart.nhdr").write_bytes(f"{head}data file: apart.raw\n".encode())
    (tmp_path / "apart.raw").touch()
    (tmp_path / "empty.nrrd").touch()
    (tmp_path / "zeros.mha").touch()
    for name in ("whole.nrrd", "apart.raw", "empty.nrrd", "zeros.mha"):
        try:
            os.truncate(tmp_path / name, 100_000_001_000)
        except OSError:
            pytest.skip("this disk knows no sparse files")
    os.mkfifo(tmp_path / "pipe.dcm")
    os.mkfifo(tmp_path / "pipe.seg.nrrd")
    for name, device in (("full.nrrd", "/dev/full"), ("tty.nii", "/dev/tty"), ("random.mha", "/dev/urandom")):
        (tmp_path / name).symlink_to(device)
    for path in sorted(tmp_path.iterdir()):
        if path.suffix != ".raw":
            begun = time.monotonic()
            with pytest.raises(BadInputError) as caught:
                read(path)
            assert time.monotonic() - begun < 10 and str(path) in str(caught.value), path
