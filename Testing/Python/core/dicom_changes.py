"""Small DICOM series that are modified file by file, for the tests of situations."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from core.dicom_files import write_multiframe, write_series
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

STORAGE = "1.2.840.10008.5.1.4.1.1."
VOXELS = np.random.default_rng(0).integers(-900, 900, (5, 7, 9)).astype(np.int16)
STORED = (VOXELS + 1000).astype(np.uint16)
Made = tuple[Path, np.ndarray]
"""Where it lies, and the voxels as they are to be read."""
Change = Callable[[pydicom.Dataset, int], None]
"""Of a file's dataset and its number, or of a frame's groups and which of two images it is."""


def every(folder: Path, change: Change, voxels: np.ndarray) -> None:
    """Write a series whose datasets were changed one by one."""
    write_series(folder, voxels)
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        change(dataset, number)
        dataset.save_as(path, enforce_file_format=True)


def changed(folder: Path, change: Change, values: np.ndarray = VOXELS, stored: np.ndarray = VOXELS) -> Made:
    every(folder, change, stored)
    return folder, values


def set_to(**values: Any) -> Change:
    """Set elements to other values; None removes them."""

    def change(dataset: pydicom.Dataset, number: int) -> None:
        for name, value in values.items():
            if value is None:
                del dataset[name]
            else:
                setattr(dataset, name, value)

    return change


def jpeg_2000(folder: Path, box: bool) -> Made:
    """Lossless, in a JP2 file's boxes or not. Smooth, as Pillow otherwise encodes few pixels wrongly."""
    values = np.add.outer(np.add.outer(np.arange(5) * 30, np.arange(32) * 20), np.arange(40) * 10).astype(np.uint16)
    write_series(folder, values)
    for path in folder.iterdir():
        dataset, stream = pydicom.dcmread(path), io.BytesIO()
        Image.fromarray(dataset.pixel_array).save(stream, "JPEG2000", irreversible=False, no_jp2=not box)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.save_as(path)
    return folder, values


def two(path: Path, change: Change, **more: Any) -> Made:
    """Two images at each position, which `change` distinguishes: it gets each frame's groups and 0 or 1."""
    write_multiframe(path, np.concatenate([VOXELS, VOXELS + 40]), [*range(5)] * 2)
    dataset = pydicom.dcmread(path)
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        change(groups, number // 5)
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path, VOXELS


def content(**values: tuple[Any, Any]) -> Change:
    def change(groups: pydicom.Dataset, which: int) -> None:
        for name, both in values.items():
            setattr(groups.FrameContentSequence[0], name, both[which])

    return change
