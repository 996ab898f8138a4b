"""One situation per row: what a DICOM segmentation can look like, and the right result or a refusal in one line."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from core import dicom_files as files
from pydicom.uid import JPEGLSLossless, RLELossless

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.segmentation import place_on, read_segmentation
from FewShotSAMLib.core.volume import Volume, read_volume

VOXELS = np.random.default_rng(0).integers(-900, 900, (5, 7, 9)).astype(np.int16)
"""63 pixels a slice: frames of single bits begin within bytes."""
PAINT = np.zeros(VOXELS.shape, np.uint8)
PAINT[1, 1:5, 2:8], PAINT[3, 2:6, 1:4], PAINT[3, 3:6, 5:8] = 1, 1, 2
SHARES = np.stack([(PAINT == 1) * 0.8 + (PAINT == 2) * 0.3, (PAINT == 2) * 0.5], -1).astype(np.float32)
OVER = np.stack([PAINT == 1, PAINT > 0], -1).astype(np.uint8)
LUT = highdicom.PaletteColorLUTTransformation.from_colors(["black", "red", "lime"])
Change = Callable[[pydicom.Dataset], None]


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return read_volume(files.write_series(tmp_path_factory.mktemp("ct"), VOXELS))


def made(
    volume: Volume,
    path: Path,
    paint: np.ndarray = PAINT,
    kind: str = "BINARY",
    change: Change = lambda dataset: None,
    segments: int = 2,
    **more: Any,
) -> Path:
    """A file written by highdicom, changed and written again."""
    code = highdicom.sr.CodedConcept("85756007", "SCT", "Tissue")
    described = [
        highdicom.seg.SegmentDescription(number, f"S{number}", code, code, "MANUAL")
        for number in range(1, segments + 1)
    ]
    images = [pydicom.dcmread(frame.path) for frame in volume.source]
    uids = highdicom.UID(), 1, highdicom.UID(), 1
    highdicom.seg.Segmentation(images, paint, kind, described, *uids, "m", "m", "1", "1", **more).save_as(path)
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def _grid(volume: Volume, first: Callable[[int], list[int]], count: int, rows: Any, spacing: list[float]) -> Any:
    """Frame positions that differ from the images'; first: the index (i, j, k) of a frame's first pixel."""
    matrix = volume.geometry.index_to_physical()
    places = [(matrix @ [*first(number), 1])[:3] for number in range(count)]
    return {
        "plane_positions": [highdicom.PlanePositionSequence("PATIENT", place) for place in places],
        "plane_orientation": highdicom.PlaneOrientationSequence("PATIENT", np.ravel(rows)),
        "pixel_measures": highdicom.PixelMeasuresSequence(spacing[:2], spacing[2], spacing[2]),
    }


def _flipped(volume: Volume, path: Path) -> Path:
    where = _grid(volume, lambda k: [8, 6, k], 5, -files.AXES, [0.75, 1.5, 2.5])
    return made(volume, path, PAINT[:, ::-1, ::-1], **where)


def _coronal(volume: Volume, path: Path) -> Path:
    where = _grid(volume, lambda j: [0, j, 0], 7, [files.AXES[0], files.NORMAL], [2.5, 1.5, 0.75])
    return made(volume, path, np.ascontiguousarray(PAINT.transpose(1, 0, 2)), **where)


def _cropped(volume: Volume, path: Path) -> Path:
    where = _grid(volume, lambda k: [1, 1, k], 5, files.AXES, [0.75, 1.5, 2.5])
    return made(volume, path, np.ascontiguousarray(PAINT[:, 1:6, 1:8]), **where)


def _bits(dataset: pydicom.Dataset, order: list[int]) -> None:
    """The frames in another order, or some twice."""
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    packed = np.packbits(dataset.pixel_array[order].ravel(), bitorder="little").tobytes()
    dataset.PerFrameFunctionalGroupsSequence = [deepcopy(groups[number]) for number in order]
    dataset.NumberOfFrames, dataset.PixelData = len(order), packed + b"\0" * (len(packed) % 2)


def _bytes(dataset: pydicom.Dataset) -> None:
    content = dataset.pixel_array.astype(np.uint8).tobytes()
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB"


def _of_segments(**values: Any) -> Change:
    def change(dataset: pydicom.Dataset) -> None:
        for each in dataset.SegmentSequence:
            for name, value in values.items():
                setattr(each, name, value)

    return change


def _numbered(number: int | None) -> Change:
    def change(dataset: pydicom.Dataset) -> None:
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            if number is None:
                del groups.SegmentIdentificationSequence
            else:
                groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number

    return change


def _empty(dataset: pydicom.Dataset) -> None:
    dataset.NumberOfFrames, dataset.PixelData, dataset.PerFrameFunctionalGroupsSequence = 0, b"", []


def _nowhere(dataset: pydicom.Dataset) -> None:
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence


def _cut(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-4]


Make = Callable[[Volume, Path], Path]
READ: dict[str, tuple[Make, str]] = {
    "single bits": (made, ""),
    "all slices": (lambda v, p: made(v, p, omit_empty_frames=False), ""),
    "probabilities": (lambda v, p: made(v, p, SHARES, "FRACTIONAL"), "fractions"),
    "shares of 100": (
        lambda v, p: made(v, p, SHARES, "FRACTIONAL", fractional_type="OCCUPANCY", max_fractional_value=100),
        "fractions"),
    "fractions, RLE": (lambda v, p: made(v, p, SHARES, "FRACTIONAL", transfer_syntax_uid=RLELossless), "fractions"),
    "fractions, JPEG-LS": (
        lambda v, p: made(v, p, SHARES, "FRACTIONAL", transfer_syntax_uid=JPEGLSLossless), "fractions"),
    "a label map": (lambda v, p: made(v, p, PAINT, "LABELMAP"), ""),
    "a label map, RLE": (lambda v, p: made(v, p, PAINT, "LABELMAP", transfer_syntax_uid=RLELossless), ""),
    "a label map with colours": (
        lambda v, p: made(v, p, PAINT, "LABELMAP", palette_color_lut_transformation=LUT), ""),
    "segments without a frame": (lambda v, p: made(v, p, segments=4), ""),
    "rows and columns backwards": (_flipped, ""),
    "frames across the slices": (_coronal, ""),
    "frames cut to what is painted": (_cropped, ""),
    "frames from the other end": (lambda v, p: made(v, p, change=lambda d: _bits(d, [2, 1, 0])), ""),
    "a frame twice": (lambda v, p: made(v, p, change=lambda d: _bits(d, [0, 1, 2, 0])), ""),
    "bytes for bits": (lambda v, p: made(v, p, change=_bytes), ""),
    "a colour that is none": (
        lambda v, p: made(v, p, change=_of_segments(RecommendedDisplayCIELabValue=[1, 2])), ""),
    "no codes": (lambda v, p: made(v, p, change=_of_segments(SegmentedPropertyTypeCodeSequence=[])), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_right(volume: Volume, tmp_path: Path, name: str) -> None:
    make, told = READ[name]
    placed, warnings = place_on(read_segmentation(make(volume, tmp_path / "a.dcm")), volume.geometry)
    assert [segment.name for segment in placed.segments] == ["S1", "S2"]
    for number, segment in enumerate(placed.segments, start=1):
        np.testing.assert_array_equal(placed.mask(segment), number == PAINT)
    assert told in "".join(placed.warnings) and bool(told) == bool(placed.warnings) and not warnings


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_segments_that_overlap(volume: Volume, tmp_path: Path, kind: str) -> None:
    over = OVER.astype(np.float32) if kind == "FRACTIONAL" else OVER
    placed, _ = place_on(read_segmentation(made(volume, tmp_path / "a.dcm", over, kind)), volume.geometry)
    for number, segment in enumerate(placed.segments):
        np.testing.assert_array_equal(placed.mask(segment), OVER[..., number] > 0)


def test_another_series_of_the_same_place(volume: Volume, tmp_path: Path) -> None:
    other = read_volume(files.write_series(tmp_path / "mr", VOXELS, SeriesInstanceUID="1.2.3.4"))
    placed, _ = place_on(read_segmentation(made(other, tmp_path / "a.dcm")), volume.geometry)
    np.testing.assert_array_equal(placed.layers[0], PAINT)
    assert placed.fields["Segmentation_ReferencedSeriesInstanceUID"] == "1.2.3.4"


def _several(volume: Volume, path: Path) -> Path:
    made(volume, path)
    return made(volume, path.with_name("b.dcm")).parent


WRONG: dict[str, tuple[Make, str]] = {
    "no frame": (lambda v, p: made(v, p, change=_empty), "no painted voxel"),
    "frames of nothing": (lambda v, p: made(v, p, PAINT * 0, omit_empty_frames=False), "no painted voxel"),
    "less than half everywhere": (lambda v, p: made(v, p, SHARES * 0.4, "FRACTIONAL"), "no painted voxel"),
    "frames of no segment": (lambda v, p: made(v, p, change=_numbered(None)), "which segment"),
    "frames of segment 0": (lambda v, p: made(v, p, change=_numbered(0)), "which segment"),
    "frames without a place": (lambda v, p: made(v, p, change=_nowhere), "no position in space"),
    "cut off": (lambda v, p: made(v, p, change=_cut), "damaged or truncated"),
    "several files": (_several, "is a folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refusals(volume: Volume, tmp_path: Path, name: str) -> None:
    make, word = WRONG[name]
    with pytest.raises(BadInputError, match=word) as caught:
        read_segmentation(make(volume, tmp_path / "a.dcm"))
    assert "\n" not in str(caught.value)
