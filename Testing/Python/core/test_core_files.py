"""Files are written completely or not at all, and errors say what to do in one line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from FewShotSAMLib.core import errors
from FewShotSAMLib.core.files import atomic_path, atomic_paths, check_writable, compound_suffix, pending_files
from FewShotSAMLib.worker.watchdog import tidy


def test_errors_are_one_line_with_kind_and_exit_code() -> None:
    error = errors.BadInputError("The file\nis broken.", "Export it again.")
    assert str(error) == "The file is broken. Export it again."
    known = (errors.BadInputError, errors.MemoryShortageError, errors.CancelledError)
    codes = {cls.kind: cls.exit_code for cls in known}
    assert codes == {"bad_input": 2, "out_of_memory": 3, "cancelled": 4}
    assert (errors.FewShotSAMError.kind, errors.FewShotSAMError.exit_code) == ("bug", 1)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.seg.nrrd", ".seg.nrrd"), ("patient.1.NII.GZ", ".nii.gz"), ("a.b.nrrd", ".nrrd"), ("none", "")],
)
def test_compound_suffix(name: str, suffix: str) -> None:
    assert compound_suffix(Path(name)) == suffix


def test_atomic_path_replaces_only_on_success(tmp_path: Path) -> None:
    path = tmp_path / "Müller.1.SEG.nrrd"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and temporary.name.endswith(".seg.nrrd") and ".partial-" in temporary.name
        assert pending_files() == [temporary]
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and pending_files() == [] and list(tmp_path.iterdir()) == [path]


def test_several_files_are_replaced_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("old.nrrd", "new.nrrd", "other.nrrd")
    paths = [tmp_path / name for name in names]

    def write() -> None:
        with atomic_paths(paths) as temporaries:
            for temporary in temporaries:
                with atomic_path(temporary) as same:  # as writers do
                    assert same == temporary
                    same.write_text("later")

    paths[0].write_text("earlier")
    paths[2].write_text("earlier")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    replace, link = Path.replace, os.link
    for failing in range(3):
        for has_links in (True, False):
            calls = [0]

            def sometimes(self: Path, target: Path, calls: list[int] = calls, failing: int = failing) -> Path:
                if target in paths and "later" in self.read_text():
                    calls[0] += 1
                    if calls[0] == failing + 1:
                        raise OSError(5, "Input/output error")
                return replace(self, target)

            def no_link(*_: object) -> None:
                raise OSError(95, "not supported")

            monkeypatch.setattr(Path, "replace", sometimes)
            monkeypatch.setattr(os, "link", link if has_links else no_link)
            with pytest.raises(errors.BadInputError, match=f"{names[failing]} cannot be written .Input/output error"):
                write()
            assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "later")


def test_a_file_that_cannot_be_put_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a.nrrd", tmp_path / "b.nrrd"
    first.write_text("earlier")
    replace = Path.replace

    def once(self: Path, target: Path) -> Path:
        if target == first and first.read_text() == "earlier":
            return replace(self, target)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", once)
    words = r"b\.nrrd cannot be written.*Written all the same: .*a\.nrrd"
    with pytest.raises(errors.BadInputError, match=words), atomic_paths([first, second]) as temporaries:
        for temporary in temporaries:
            temporary.write_text("later")


def test_a_kill_amid_the_replacing_is_undone_by_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("a.nrrd", "b.nrrd", "c.nrrd")]
    paths[0].write_text("earlier")
    script = f"""
import os, sys
from pathlib import Path
from FewShotSAMLib.core import files
done, replace = [0], Path.replace
def dying(self, target):
    if done[0] == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    done[0] += 1
    return replace(self, target)
Path.replace = dying
with files.atomic_paths([Path(each) for each in {[str(path) for path in paths]!r}]) as temporaries:
    for each in temporaries:
        each.write_text("later")
"""
    for number in range(3):
        process = subprocess.Popen([sys.executable, "-c", script, str(number)])
        assert process.wait() == -9
        assert len(list(tmp_path.glob("*.partial-*"))) > 1
        tidy(process.pid, [str(tmp_path)])
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.nrrd": "earlier"}


def test_permissions_stay_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "a.nrrd", tmp_path / "b.nrrd"
    path.write_text("earlier")
    path.chmod(0o640)
    link.symlink_to("a.nrrd")
    with atomic_path(link) as temporary:
        temporary.write_text("later")
    assert link.is_symlink() and path.read_text() == "later" and path.stat().st_mode & 0o777 == 0o640


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nrrd")
    (tmp_path / "link.nrrd").symlink_to("/dev/null")
    for name in ("pipe.nrrd", "link.nrrd", "/dev/null"):
        with pytest.raises(errors.BadInputError, match="device or a pipe"):
            check_writable(tmp_path / name)


def test_a_name_with_the_character_0_is_none(tmp_path: Path) -> None:
    with pytest.raises(errors.BadInputError, match="character 0"):
        check_writable(tmp_path / "a\0b.nrrd")


@pytest.mark.parametrize("call", ["open", "fsync", "close"])
def test_errors_of_the_disk_name_the_output(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, plain = tmp_path / "a.nrrd", getattr(os, call)
    path.write_text("earlier")

    def broken(*given: Any, **named: Any) -> Any:
        if call == "close":
            plain(*given, **named)
        raise OSError(5, "Input/output error")

    words = r"a\.nrrd cannot be written .Input/output error"
    with pytest.raises(errors.BadInputError, match=words), atomic_path(path) as temporary:
        temporary.write_text("later")
        monkeypatch.setattr(os, call, broken)
    monkeypatch.undo()
    assert path.read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1


def test_missing_or_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in (tmp_path / "none" / "a.nrrd", tmp_path / "file" / "a.nrrd", tmp_path, Path("/proc/a.nrrd")):
        with pytest.raises(errors.BadInputError):
            check_writable(bad)
    with pytest.raises(errors.BadInputError, match="does not exist"), atomic_path(tmp_path / "none" / "a.nrrd"):
        pytest.fail("the block must not run")
    check_writable(tmp_path / "a.nrrd")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
