"""The embedding cache when things break: kills, flipped bits, full disks. No damaged slice may ever be returned."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.sam.cache import EmbeddingCache
from FewShotSAMLib.sam.embedding_store import EmbeddingStore, MissingSlicesError

COUNT = 12
SHAPE = (64, 32, 32)

CHILD = """
import resource, sys
from pathlib import Path
import numpy as np
from FewShotSAMLib.sam import embedding_store
from FewShotSAMLib.sam.cache import EmbeddingCache
COUNT, SHAPE = 12, (64, 32, 32)
def embedding(index, key):
    return np.random.default_rng([index, *key.encode()]).random(SHAPE, np.float32)
told = []
cache = EmbeddingCache(Path(sys.argv[1]), 10**9, told.append)
"""
"""What every child process starts with; it makes the same embeddings as `embedding` below."""


def embedding(index: int, key: str = "k") -> np.ndarray:
    return np.random.default_rng([index, *key.encode()]).random(SHAPE, np.float32)


def is_right(store: EmbeddingStore, key: str = "k") -> int:
    """Check that every slice that is not missing has the right values; return how many those are."""
    present = sorted(set(range(COUNT)) - set(store.missing(range(COUNT))))
    for index, value in zip(present, store.read(present), strict=True):
        np.testing.assert_array_equal(value, embedding(index, key).astype(np.float16))
    return len(present)


def complete(store: EmbeddingStore, key: str = "k") -> None:
    for index in store.missing(range(COUNT)):
        store.write(index, embedding(index, key))
    assert is_right(store, key) == COUNT


def run_child(code: str, folder: Path, end: int = 0) -> str:
    """Run CHILD + code; it must end by itself, within seconds and as expected. Return what it printed."""
    command = [sys.executable, "-c", CHILD + code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == end, done.stderr
    return done.stdout


@pytest.fixture
def filled(cache: EmbeddingCache) -> Path:
    """The file of a volume whose embeddings are all cached."""
    with cache.open("a", "k", COUNT, SHAPE) as store:
        complete(store)
    return cache.entries()[0].path


KILLED = """
print("ready", flush=True)
for round in range(10**6):
    key = f"key{round % 7}"
    with cache.open(f"volume{round % 3}", key, COUNT, SHAPE) as store:
        for index in range(COUNT):
            store.write(index, embedding(index, key))
"""


def test_killed_while_writing(cache: EmbeddingCache, told: list[str]) -> None:
    chance = random.Random(1)
    for _ in range(4):
        command = [sys.executable, "-c", CHILD + KILLED, str(cache.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.12))
            child.send_signal(signal.SIGKILL)
        for volume in range(3):
            for number in range(7):
                with cache.open(f"volume{volume}", f"key{number}", COUNT, SHAPE) as store:
                    assert store.persistent
                    is_right(store, f"key{number}")
    assert not told


@pytest.mark.parametrize("moment", ["before", "within", "after"])
@pytest.mark.parametrize("volume", ["a", "new"])
def test_killed_while_making_the_structure(
    moment: str, volume: str, cache: EmbeddingCache, filled: Path, told: list[str]
) -> None:
    code = f"""
import os
original = embedding_store._write_all
def kill_at(stream, offset, content):
    original(stream, offset, content[: {{"before": 0, "within": 700, "after": None}}[{moment!r}]])
    os.kill(os.getpid(), 9)
embedding_store._write_all = kill_at
cache.open({volume!r}, "more", COUNT, SHAPE)
"""
    run_child(code, cache.folder, -signal.SIGKILL)
    for key in ("k", "more"):
        with cache.open(volume, key, COUNT, SHAPE) as store:
            assert store.persistent
            complete(store, key)
    assert not told and not list(cache.folder.glob("incomplete*"))


def test_killed_between_slices_resumes(cache: EmbeddingCache, told: list[str]) -> None:
    code = """
import os
store = cache.open("a", "k", COUNT, SHAPE)
for index in range(5):
    store.write(index, embedding(index, "k"))
os.kill(os.getpid(), 9)
"""
    run_child(code, cache.folder, -signal.SIGKILL)
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert store.persistent and store.missing(range(COUNT)) == list(range(5, COUNT))
        complete(store)
    assert not told


def test_flipped_bits_anywhere(cache: EmbeddingCache, filled: Path, told: list[str]) -> None:
    content = filled.read_bytes()
    chance = random.Random(2)
    header = 600
    places = [*range(0, header, 13), *(chance.randrange(header, len(content)) for _ in range(25))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << chance.randrange(8)
        filled.write_bytes(damaged)
        with cache.open("a", "k", COUNT, SHAPE) as store:
            assert store.persistent and is_right(store) in (0, COUNT - 1, COUNT)
    assert any("damaged slices" in text for text in told) and any("set aside" in text for text in told)


def test_flipped_bit_while_open_is_noticed_at_reading(cache: EmbeddingCache, filled: Path, told: list[str]) -> None:
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert store.missing(range(COUNT)) == []
        with filled.open("r+b") as stream:
            stream.seek(filled.stat().st_size - 5000)
            stream.write(bytes(range(200)))
        with pytest.raises(MissingSlicesError) as lost:
            store.read(range(COUNT))
        assert store.missing(range(COUNT)) == lost.value.indices and len(lost.value.indices) == 1
        complete(store)
    assert len(told) == 1 and "damaged slices" in told[0]


@pytest.mark.parametrize("damage", ["cut in the data", "cut in the header", "garbage", "empty", "other HDF5"])
def test_damaged_file_is_set_aside_and_rebuilt(
    damage: str, cache: EmbeddingCache, filled: Path, told: list[str]
) -> None:
    content = filled.read_bytes()
    if damage == "other HDF5":
        import h5py

        with h5py.File(filled, "w") as other:
            other.create_dataset("slices", COUNT, "f2")
    else:
        new = {"cut in the data": content[:-9000], "cut in the header": content[:300], "empty": b""}
        filled.write_bytes(new.get(damage, bytes(range(256)) * 3000))
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert store.persistent and is_right(store) == 0
        complete(store)
    assert len(told) == 1 and "set aside as" in told[0]
    entries = cache.entries()
    assert [entry.is_damaged for entry in entries] == [True, False]
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert is_right(store) == COUNT
    assert cache.clear() == sum(entry.size_bytes for entry in entries) and cache.entries() == []


def test_damage_under_an_open_store_leaves_it_alone(cache: EmbeddingCache, filled: Path, told: list[str]) -> None:
    with cache.open("a", "k", COUNT, SHAPE) as first:
        with filled.open("r+b") as stream:
            stream.write(b"no longer HDF5")
        with cache.open("a", "other", COUNT, SHAPE) as second, cache.open("a", "k", COUNT, SHAPE) as third:
            complete(second, "other")
            complete(third)
        assert cache.clear() > 0 and is_right(first) == COUNT
    assert len(told) == 1 and "set aside" in told[0]


def test_file_deleted_under_an_open_store(cache: EmbeddingCache, filled: Path) -> None:
    with cache.open("a", "k", COUNT, SHAPE) as first:
        filled.unlink()
        with cache.open("a", "other", COUNT, SHAPE) as second:
            complete(second, "other")
        complete(first)


def test_folder_that_cannot_be_written(tmp_path: Path, told: list[str]) -> None:
    (tmp_path / "file").touch()
    with EmbeddingCache(tmp_path / "file" / "cache", 10**9, told.append).open("a", "k", COUNT, SHAPE) as store:
        assert not store.persistent
        complete(store)
    assert len(told) == 1 and "keeps its embeddings in memory" in told[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 70 MB; skips the test if mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=70m", "tmpfs", str(folder)]
    if command is None or subprocess.run([command, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_read_only_file_system(small_disk: Path, told: list[str]) -> None:
    cache = EmbeddingCache(small_disk, 10**9, told.append)
    with cache.open("a", "k", COUNT, SHAPE) as store:
        complete(store)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert not store.persistent
        complete(store)
    assert len(told) == 1 and "cannot be used" in told[0]


def test_read_only_folder(cache: EmbeddingCache, told: list[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("the administrator may write everywhere; test_read_only_file_system covers it")
    cache.folder.mkdir(mode=0o500)
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert not store.persistent
        complete(store)
    assert len(told) == 1


def test_full_disk(small_disk: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = EmbeddingCache(small_disk, 10**9, told.append)
    with cache.open("a", "k", COUNT, SHAPE) as store:
        complete(store)
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 500_000))
    with cache.open("b", "k", COUNT, SHAPE) as store:  # evicts the other volume, which does not free enough
        assert not store.persistent
        complete(store)
    assert len(told) == 1 and "the disk is full" in told[0]
    monkeypatch.setattr("FewShotSAMLib.sam.cache.SPARE_BYTES", -(10**9))  # as if another process used the space
    (small_disk / "more ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 500_000))
    with cache.open("b", "k", COUNT, SHAPE) as store:
        assert not store.persistent
        complete(store)
    assert len(told) == 2 and "No space left" in told[1]
    assert not list(small_disk.glob("*.h5"))


def test_file_size_limit_at_opening(cache: EmbeddingCache, filled: Path) -> None:
    size = filled.stat().st_size
    code = f"""
resource.setrlimit(resource.RLIMIT_FSIZE, ({size - 50_000}, {size - 50_000}))
with cache.open("a", "more", COUNT, SHAPE) as store, cache.open("a", "k", COUNT, SHAPE) as old:
    assert not store.persistent and old.persistent and old.missing(range(COUNT)) == []
    for index in range(COUNT):
        store.write(index, embedding(index, "more"))
    assert store.missing(range(COUNT)) == []
    assert (store.read([3])[0] == embedding(3, "more").astype("f2")).all()
print(len(told), told[0])
"""
    assert run_child(code, cache.folder).startswith("1 The embedding cache")
    assert filled.stat().st_size == size
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert is_right(store) == COUNT


def test_writes_that_fail_in_mid_run(cache: EmbeddingCache, told: list[str]) -> None:
    code = """
store = cache.open("a", "k", COUNT, SHAPE)
for index in range(4):
    store.write(index, embedding(index, "k"))
resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))
for index in range(4, COUNT):
    store.write(index, embedding(index, "k"))
assert not store.persistent and store.missing(range(COUNT)) == []
values = store.read(range(COUNT))
assert all((values[i] == embedding(i, "k").astype("f2")).all() for i in range(COUNT))
print(len(told), told[0])
"""
    output = run_child(code, cache.folder)
    assert output.startswith("1 ") and "cannot be written" in output
    with cache.open("a", "k", COUNT, SHAPE) as store:
        assert is_right(store) >= 4
        complete(store)
    assert not told


def test_structure_that_cannot_be_written(cache: EmbeddingCache, filled: Path, told: list[str]) -> None:
    """Space can be reserved, but no headers written: h5py neither hangs nor aborts at exit; the file is not trusted."""
    code = """
def refuse(stream, offset, content):
    raise OSError(5, "Input/output error")
embedding_store._write_all = refuse
for key in ("one", "two"):
    with cache.open("a", key, COUNT, SHAPE) as store:
        assert not store.persistent
        store.write(0, embedding(0, key))
        assert store.missing(range(2)) == [1]
print(len(told))
"""
    assert run_child(code, cache.folder) == "2\n"  # refused twice
    with cache.open("a", "k", COUNT, SHAPE) as store:
        complete(store)
    assert not told
