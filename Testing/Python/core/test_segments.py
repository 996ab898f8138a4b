"""Segments that our files could not store are refused wherever they come from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation

GOOD: dict[str, Any] = {"id": "a", "name": "Liver", "color": (1, 0, 0), "label_value": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"label_value": 1.5},
        {"label_value": 0},
        {"label_value": 65536},
        {"label_value": "1"},
        {"layer": -1},
        {"name": "x" * 256},
        {"name": None},
        {"id": ""},
        {"color": (1, 0)},
        {"color": (1, 0, float("nan"))},
        {"color": (1, 0, 2)},
        {"tags": {"a": 3}},
    ],
)
def test_impossible_segments(change: dict[str, Any]) -> None:
    Segment(**GOOD)
    with pytest.raises(BadInputError) as caught:
        Segment(**{**GOOD, **change})
    assert caught.value.hint


def _written(tmp_path: Path) -> tuple[Path, bytes]:
    layers = np.zeros((1, 2, 3, 4), np.uint8)
    layers[0, 0, 0, :2] = 1, 2
    two = (Segment(**GOOD), Segment(**{**GOOD, "id": "b", "name": "Spleen", "label_value": 2}))
    write_segmentation(Segmentation(layers, Geometry((4, 3, 2)), two), tmp_path / "a.seg.nrrd")
    return tmp_path / "a.seg.nrrd", (tmp_path / "a.seg.nrrd").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"Segment1_ID:=b", b"Segment1_ID:=a", "same ID"),
        (b"Segment1_Name:=Spleen", b"Segment1_Name:=" + b"x" * 256, "255"),
        (b"Segment1_", b"Segment" + b"9" * 5000 + b"_", "damaged"),
        (b"LabelValue:=2", b"LabelValue:=" + b"2" * 5000, "damaged"),
        (b"LabelValue:=2", b"LabelValue:=1.5", "damaged"),
        (b"LabelValue:=2", b"LabelValue:=70000", "out of range"),
        (b"Segment1_Layer:=0", b"Segment1_Layer:=7", "layer 7"),
    ],
)
def test_files_with_impossible_segments(old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
    path, content = _written(tmp_path)
    assert len(read_segmentation(path).segments) == 2
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(BadInputError, match=words) as caught:
        read_segmentation(path)
    assert len(str(caught.value)) < 400


def test_a_senseless_colour_is_replaced(tmp_path: Path) -> None:
    path, content = _written(tmp_path)
    path.write_bytes(content.replace(b"Segment0_Color:=1.0 0.0 0.0", b"Segment0_Color:=nan 7 0"))
    assert all(0 <= part <= 1 for part in read_segmentation(path).segments[0].color)
