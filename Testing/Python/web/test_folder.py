"""No file outside the served folder can be named."""

import json
import struct
from pathlib import Path

import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web.folder import ServedFolder
from FewShotSAMLib.web.model_list import ModelList
from FewShotSAMLib.workflow import ModelLibrary


@pytest.fixture
def served(tmp_path: Path) -> ServedFolder:
    """A folder with volumes, a DICOM series, links that lead outside and inside, and a secret outside it."""
    outside = tmp_path / "outside"
    inside = tmp_path / "data"
    (inside / "series").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.nrrd").write_text("x")
    for name in ("a.nrrd", "B.nii.gz", "c.seg.nrrd", "notes.txt", ".hidden.nrrd"):
        (inside / name).write_text("x")
    (inside / "series" / "1").write_bytes(bytes(128) + b"DICM")
    (inside / "away").symlink_to(outside)
    (inside / "away.nrrd").symlink_to(outside / "secret.nrrd")
    (inside / "near.nrrd").symlink_to(inside / "a.nrrd")
    return ServedFolder(inside)


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.nrrd",
        "series/../../outside/secret.nrrd",
        "series/..",
        "..\\outside\\secret.nrrd",
        "/etc/passwd",
        "C:\\secret.nrrd",
        "\\\\server\\share",
        "%2e%2e/outside/secret.nrrd",
        "..%2foutside",
        "%252e%252e%252foutside",
        "%2fetc%2fpasswd",
        "away/secret.nrrd",
        "away.nrrd",
        "away",
        "a\0.nrrd",
        "",
        " ",
    ],
)
def test_places_outside_are_refused(served: ServedFolder, name: str) -> None:
    with pytest.raises(BadInputError, match="served folder"):
        served.resolve(name)
    with pytest.raises(BadInputError, match="served folder"):
        served.output(f"{name}/x" if name in ("away", "series/..") else name)


@pytest.mark.parametrize(
    "name", ["a.nrrd", "near.nrrd", "series", "series/1", "new.nrrd", "100%.nrrd", "leber ñ 肝.nrrd"]
)
def test_places_inside_are_found(served: ServedFolder, name: str) -> None:
    path = served.resolve(name)
    assert path.is_relative_to(served.path)
    assert served.resolve(served.name_of(path)) == path


def test_a_folder_that_is_itself_a_link_is_served(served: ServedFolder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(served.path)
    assert ServedFolder(link).resolve("a.nrrd") == served.path / "a.nrrd"


def test_results_get_their_suffix_and_an_existing_folder(served: ServedFolder) -> None:
    assert served.output("liver").name == "liver.seg.nrrd"
    assert served.output("series/liver.SEG.nrrd").parent.name == "series"
    with pytest.raises(BadInputError, match="no folder"):
        served.output("missing/liver")


def test_volumes_are_listed_and_nothing_else(served: ServedFolder) -> None:
    assert served.volumes() == ["a.nrrd", "B.nii.gz", "near.nrrd", "series"]


def test_names_of_places_outside_are_refused(served: ServedFolder, tmp_path: Path) -> None:
    with pytest.raises(BadInputError):
        served.name_of(tmp_path / "outside" / "secret.nrrd")


def put_model(path: Path) -> None:
    """Write a few-shot model without weights."""
    segment = {"id": "a", "name": "Liver", "color": [1, 0, 0], "label_value": 1}
    header = {"method": "few-shot", "encoder": "tiny", "plane": "axial", "segments": [segment]}
    text = json.dumps({"__metadata__": {"fewshotsam": json.dumps(header)}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def test_models_are_listed_but_not_those_outside(served: ServedFolder, tmp_path: Path) -> None:
    models = ModelList(served, ModelLibrary(served.path))
    assert models.rows() == []
    put_model(served.path / "liver ñ.fewshot")
    put_model(tmp_path / "outside" / "secret.fewshot")
    (served.path / "link.fewshot").symlink_to(tmp_path / "outside" / "secret.fewshot")
    (row,) = models.rows()
    assert (row["name"], row["segments"]) == ("liver ñ", "Liver") and "encoder tiny, axial" in row["details"]
    assert models.entry("liver ñ").path.parent == served.path
    for name in ("link", "../outside/secret", ""):
        with pytest.raises(BadInputError, match="no few-shot model"):
            models.entry(name)


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        ServedFolder(tmp_path / "nowhere")
