"""What a job writes, completely or not at all, and what its report says about it."""

import json
from typing import Any

import numpy as np
import pytest
from engine.conftest import StopAt

from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.core.image_io import read_image
from FewShotSAMLib.core.segmentation import Segment, Segmentation


@pytest.mark.parametrize("axis", [0, 2])
def test_the_result_is_counted_as_it_is_written(case: Any, axis: int) -> None:
    labels = np.zeros((2, *case.volume.geometry.shape), np.uint16)
    for layer, label in ((0, 300), (1, 4)):  # two that overlap
        np.moveaxis(labels[layer], axis, 0)[[4, 8], 4 + layer : 9, 3:8] = label
    segments = tuple(Segment(name, name, (1.0, 0.0, 0.0), value, n) for n, name, value in ((0, "a", 300), (1, "b", 4)))
    drawn = case.painted_as(Segmentation(labels, case.volume.geometry, segments))
    report = case.run(**drawn, axis=axis, empty_slices=[])
    result = case.result()
    assert [row["voxels"] for row in report["segments"]] == [int(result.mask(each).sum()) for each in result.segments]
    known = np.moveaxis(result.layers, axis + 1, 0)[[4, 8]]
    assert np.array_equal(known > 0, np.moveaxis(labels, axis + 1, 0)[[4, 8]] > 0)


def test_an_array_of_classes_is_all_that_is_written_where_that_is_enough(case: Any) -> None:
    whole = case.run(classes=str(case.folder / "with.npy"))
    before = {path.name for path in case.folder.iterdir()}
    report = case.run(output=None, classes=str(case.folder / "without.npy"), strip=str(case.folder / "strip.jpg"))
    assert report["output"] is None and report["segments"] == whole["segments"]
    assert {path.name for path in case.folder.iterdir()} - before == {"without.npy", "strip.jpg"}
    assert np.array_equal(np.load(case.folder / "without.npy"), np.load(case.folder / "with.npy"))
    with pytest.raises(BadInputError, match="record"):
        case.run(output=None, classes=str(case.folder / "c.npy"), record=str(case.folder / "record.json"))


def test_a_failed_write_leaves_what_was_there(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case.run(save_model=str(case.folder / "m.fewshot"), confidence=str(case.folder / "c.nrrd"))
    before = {path.name: path.read_bytes() for path in case.folder.iterdir()}

    def fail(*arguments: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("FewShotSAMLib.engine.model_file.save", fail)
    with pytest.raises(BadInputError, match="space"):
        case.run(seed=9, save_model=str(case.folder / "m.fewshot"), confidence=str(case.folder / "c.nrrd"))
    assert {path.name: path.read_bytes() for path in case.folder.iterdir()} == before


def test_a_record_and_a_strip_come_with_the_result_or_not_at_all(case: Any) -> None:
    files = {"record": case.folder / "r.json", "strip": case.folder / "r.jpg"}
    asked = {name: str(path) for name, path in files.items()}
    with pytest.raises(CancelledError):
        case.run(StopAt("write"), **asked)
    assert not any(path.exists() for path in files.values())
    report = case.run(**asked, made_of="this")
    record = json.loads(files["record"].read_text())
    written = (case.folder / "result.seg.nrrd").stat()
    assert record["written"] == {"bytes": written.st_size, "modified_ns": written.st_mtime_ns}
    assert record["made_of"] == "this"
    assert all(record[name] == report[name] for name in ("shown", "segments"))
    assert record["shown"][1:] == [index for index in report["next_slices"][:3] if index != record["shown"][0]]
    picture = read_image(files["strip"]).voxels[0]
    assert picture.shape == (90, len(record["shown"]) * (112 + 2) - 2, 3)
    colored = np.abs(picture[..., 0].astype(int) - picture[..., 2]) > 25
    assert colored[:, :112].any(), "the middle slice shows the segments"
    with pytest.raises(BadInputError, match="would overwrite the"):
        case.run(record=str(case.folder / "r.json"), strip=str(case.folder / "r.json"))
