"""Files are written whole or not at all, and errors say what to do in one line."""

from pathlib import Path

import pytest

from FewShotSAMLib.core import errors
from FewShotSAMLib.core.files import atomic_path, check_writable, compound_suffix, pending_files


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


def test_missing_or_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in (tmp_path / "none" / "a.nrrd", tmp_path / "file" / "a.nrrd", tmp_path, Path("/proc/a.nrrd")):
        with pytest.raises(errors.BadInputError):
            check_writable(bad)
    with pytest.raises(errors.BadInputError, match="does not exist"), atomic_path(tmp_path / "none" / "a.nrrd"):
        pytest.fail("the block must not run")
    check_writable(tmp_path / "a.nrrd")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
