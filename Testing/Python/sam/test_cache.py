"""The embedding cache in daily use: what was written is read, limits, eviction, concurrent processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.sam.cache import EmbeddingCache, MissingSlicesError, default_folder, default_limit

SHAPE = (16, 8, 8)
SLICE_BYTES = 16 * 8 * 8 * 2


def embedding(index: int, volume: str = "a") -> np.ndarray:
    return np.random.default_rng([index, *volume.encode()]).standard_normal(SHAPE).astype(np.float32)


def fill(cache: EmbeddingCache, volume: str, key: str = "k", count: int = 10) -> None:
    with cache.open(volume, key, count, SHAPE) as store:
        for index in range(count):
            store.write(index, embedding(index, volume))


def test_written_slices_are_there_in_the_next_run(cache: EmbeddingCache, told: list[str]) -> None:
    with cache.open("a", "k", 10, SHAPE) as store:
        assert store.persistent and store.missing(range(10)) == list(range(10))
        for index in (7, 2):
            store.write(index, embedding(index))
        assert store.missing([1, 2, 7]) == [1]
    with cache.open("a", "k", 10, SHAPE) as store:
        assert store.missing(range(10)) == [0, 1, 3, 4, 5, 6, 8, 9]
        values = store.read([7, 2, 7])
        assert values.dtype == np.float16 and values.shape == (3, *SHAPE)
        np.testing.assert_array_equal(values[1], embedding(2).astype(np.float16))
        np.testing.assert_array_equal(values[0], values[2])
        with pytest.raises(MissingSlicesError) as lost:
            store.read([7, 3, 2, 0])
        assert lost.value.indices == [3, 0]
    assert not told


def test_keys_of_a_volume_are_open_together_and_apart(cache: EmbeddingCache, told: list[str]) -> None:
    with cache.open("a", "one", 5, SHAPE) as one, cache.open("a", "two", 5, SHAPE) as two:
        one.write(3, embedding(3))
        other_cache = EmbeddingCache(cache.folder, 10**9, told.append)
        with other_cache.open("a", "three", 2, SHAPE) as three:
            three.write(0, embedding(9))
            assert three.persistent
        two.write(3, embedding(4))
        assert two.missing(range(5)) == [0, 1, 2, 4]
        for store, number in ((one, 3), (two, 4)):
            np.testing.assert_array_equal(store.read([3])[0], embedding(number).astype(np.float16))
    with cache.open("a", "three", 2, SHAPE) as three:
        np.testing.assert_array_equal(three.read([0])[0], embedding(9).astype(np.float16))
    for key, number in (("one", 3), ("two", 4)):
        with cache.open("a", key, 5, SHAPE) as again:
            np.testing.assert_array_equal(again.read([3])[0], embedding(number).astype(np.float16))
    assert len(cache.entries()) == 1 and not told


def test_any_hdf5_reader_sees_the_embeddings(cache: EmbeddingCache) -> None:
    fill(cache, "a", "size=512|axis=0")
    with h5py.File(cache.entries()[0].path) as content:
        slices = content["slices"]
        assert content.attrs["key"] == b"size=512|axis=0" and slices["embedding"].dtype == np.float16
        np.testing.assert_array_equal(slices["embedding"][4], embedding(4).astype(np.float16))
        assert (slices["checksum"][:] != 0).all()


def test_wrong_use_is_an_error(cache: EmbeddingCache) -> None:
    with cache.open("a", "k", 3, SHAPE) as store:
        with pytest.raises(IndexError):
            store.write(3, embedding(0))
        with pytest.raises(IndexError):
            store.missing([-1])
        with pytest.raises(ValueError, match="expected"):
            store.write(0, np.zeros((1, 8, 8)))


def test_zero_limit_means_memory_without_a_word(tmp_path: Path, told: list[str]) -> None:
    with EmbeddingCache(tmp_path / "cache", 0, told.append).open("a", "k", 3, SHAPE) as store:
        store.write(1, embedding(1))
        assert not store.persistent and store.missing(range(3)) == [0, 2]
        np.testing.assert_array_equal(store.read([1])[0], embedding(1).astype(np.float16))
    assert not told and not (tmp_path / "cache").exists()


def test_limit_too_small_for_the_volume(tmp_path: Path, told: list[str]) -> None:
    cache = EmbeddingCache(tmp_path / "cache", 10 * SLICE_BYTES, told.append)
    with cache.open("a", "k", 100, SHAPE) as store:
        store.write(99, embedding(99))
        assert not store.persistent and store.missing([98, 99]) == [98]
    assert len(told) == 1 and "more than the limit" in told[0] and "FEWSHOTSAM_CACHE_LIMIT_GB" in told[0]
    assert cache.usage() == 0


def test_least_recently_used_volume_is_evicted(tmp_path: Path, told: list[str]) -> None:
    cache = EmbeddingCache(tmp_path / "cache", 450_000, told.append)
    for age, volume in enumerate(("a", "b", "c")):
        fill(cache, volume, count=50)
        os.utime(cache.entries()[-1].path, (time.time() - 100 + age,) * 2)
    with cache.open("a", "k", 50, SHAPE):
        pass  # so that it is no longer the least recently used
    fill(cache, "d", count=50)
    assert sorted(entry.name for entry in cache.entries()) == ["a", "c", "d"]
    assert cache.usage() <= cache.limit_bytes and not told


def test_files_in_use_are_not_evicted(tmp_path: Path, told: list[str]) -> None:
    cache = EmbeddingCache(tmp_path / "cache", 200_000, told.append)
    with cache.open("a", "k", 50, SHAPE) as first:
        first.write(0, embedding(0))
        with cache.open("b", "k", 50, SHAPE) as second:
            second.write(0, embedding(0, "b"))
            assert not second.persistent
        assert cache.clear() == 0 and first.missing([0]) == []
    assert len(told) == 1 and "in use" in told[0]
    assert cache.clear() > 0 and cache.entries() == []


def test_old_settings_of_the_same_volume_make_room(tmp_path: Path, told: list[str]) -> None:
    cache = EmbeddingCache(tmp_path / "cache", 300_000, told.append)
    for key in ("one", "two", "three"):
        with cache.open("a", key, 50, SHAPE) as store:
            store.write(0, embedding(0))
            assert store.persistent
    assert cache.usage() <= cache.limit_bytes and not told


def test_files_of_a_former_layout_are_evicted_in_time(tmp_path: Path, told: list[str]) -> None:
    cache = EmbeddingCache(tmp_path, 200_000, told.append)
    (tmp_path / "a.h5").write_bytes(bytes(100_000))
    assert [entry.name for entry in cache.entries()] == ["a"] and cache.usage() == 100_000
    fill(cache, "a", count=50)
    assert not (tmp_path / "a.h5").exists() and cache.usage() > 0 and not told


SECOND = """
import sys
from pathlib import Path
import numpy as np
from FewShotSAMLib.sam.cache import EmbeddingCache
SHAPE = (16, 8, 8)
def embedding(index, volume="a"):
    return np.random.default_rng([index, *volume.encode()]).standard_normal(SHAPE).astype(np.float32)
told = []
cache = EmbeddingCache(Path(sys.argv[1]), 10**9, told.append)
"""
"""What a second process starts with; it makes the same embeddings as `embedding` above."""


class Second:
    """A second process on the same folder, which runs `code` after SECOND; both communicate in lines."""

    def __init__(self, cache: EmbeddingCache, code: str) -> None:
        command = [sys.executable, "-c", SECOND + code, str(cache.folder)]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Second":
        return self

    def __exit__(self, *details: object) -> None:
        self._child.kill()
        self._child.communicate()

    def says(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    def go_on(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()


HOLD = """
with cache.open("a", "k", 10, SHAPE) as store:
    print(store.persistent, flush=True)
    sys.stdin.read()
"""


def test_what_another_process_uses_is_not_evicted(cache: EmbeddingCache, told: list[str]) -> None:
    fill(cache, "a")
    with Second(cache, HOLD) as other:
        assert other.says() == "True"
        with cache.open("a", "k", 10, SHAPE) as store:
            assert store.persistent and store.missing(range(10)) == []
        assert cache.clear() == 0
        small = EmbeddingCache(cache.folder, 100_000, told.append)
        with small.open("b", "k", 10, SHAPE) as store:
            assert not store.persistent
    assert len(told) == 1 and "in use" in told[0]
    with cache.open("a", "k", 10, SHAPE) as store:
        assert store.persistent and store.missing(range(10)) == []
    assert cache.clear() > 0


READ = """
with cache.open("a", "k", 10, SHAPE) as store:
    print(store.missing(range(10)), flush=True)
    sys.stdin.readline()
    print(store.missing(range(10)), flush=True)
    right = (store.read([7, 2]) == [embedding(7).astype("f2"), embedding(2).astype("f2")]).all()
    store.write(3, embedding(3))
    print(right, store.persistent, told, flush=True)
    sys.stdin.readline()
"""


def test_second_process_reads_what_the_first_has_written_since(cache: EmbeddingCache, told: list[str]) -> None:
    with cache.open("a", "k", 10, SHAPE) as store:
        store.write(2, embedding(2))
        with Second(cache, READ) as other:
            assert other.says() == "[0, 1, 3, 4, 5, 6, 7, 8, 9]"
            store.write(7, embedding(7))
            other.go_on()
            assert other.says() == "[0, 1, 3, 4, 5, 6, 8, 9]"
            assert other.says() == "True True []"
            assert store.missing(range(10)) == [0, 1, 4, 5, 6, 8, 9]
            np.testing.assert_array_equal(store.read([3])[0], embedding(3).astype(np.float16))
    assert not told


WRITE = """
print("ready", flush=True)
sys.stdin.readline()
with cache.open("a", "k", 10, SHAPE) as store:
    for number in range(400):
        store.write(number % 10, embedding(number % 10, "ab"[number % 2]))
        store.read(store._intact)
print(told, flush=True)
"""


def test_two_writers_of_the_same_slices_never_mix_them(cache: EmbeddingCache, told: list[str]) -> None:
    """Processors may differ in the last bit: it does not matter whose slice it is, as long as it is a whole one."""
    with Second(cache, WRITE) as other, cache.open("a", "k", 10, SHAPE) as store:
        assert other.says() == "ready"
        other.go_on()
        for number in range(400):
            store.write(number % 10, embedding(number % 10, "ba"[number % 2]))
            index = (number * 7) % 10
            if index not in store.missing([index]):
                value = store.read([index])[0]
                assert any((value == embedding(index, maker).astype(np.float16)).all() for maker in "ab")
        assert other.says() == "[]"
        assert store.missing(range(10)) == []
    assert not told


CLEAR = """
print("ready", flush=True)
while True:
    cache.clear()
"""


def test_eviction_by_another_process_at_any_moment(cache: EmbeddingCache, told: list[str]) -> None:
    with Second(cache, CLEAR) as other:
        assert other.says() == "ready"
        for number in range(60):
            with cache.open("a", f"key{number % 3}", 4, SHAPE) as store:
                for index in store.missing(range(4)):
                    store.write(index, embedding(index))
                assert store.persistent and store.missing(range(4)) == []
                np.testing.assert_array_equal(store.read([3])[0], embedding(3).astype(np.float16))
    assert not told


LOCK = """
with cache._alone:
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_process_that_holds_the_lock_for_long_stops_nobody(cache: EmbeddingCache, told: list[str]) -> None:
    cache._alone.timeout = 0.1
    with cache.open("a", "k", 10, SHAPE) as store, Second(cache, LOCK) as other:
        assert other.says() == "locked"
        store.write(1, embedding(1))
        with cache.open("b", "k", 10, SHAPE) as second:
            second.write(1, embedding(1))
            assert second.missing(range(2)) == store.missing(range(2)) == [0] and not second.persistent
        assert cache.clear() == 0
    assert len(told) == 2 and "in memory" in told[0] and "in memory" in told[1]


def test_unsuitable_names_and_settings(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fill(cache, "../escape/ä", count=1)
    assert not (tmp_path / "escape").exists() and len(cache.entries()) == 1
    monkeypatch.setenv("FEWSHOTSAM_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("FEWSHOTSAM_CACHE_LIMIT_GB", "0.5")
    assert default_folder() == tmp_path / "other" and default_limit() == 500_000_000
    monkeypatch.setenv("FEWSHOTSAM_CACHE_LIMIT_GB", "much")
    with pytest.raises(BadInputError, match="number of gigabytes"):
        default_limit()
