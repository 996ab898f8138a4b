"""The content of an image file as the readers return it, and the errors and warnings that they share."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry

MODALITY_KEY = "0008|0060"
"""Where ITK keeps DICOM's modality, in memory and in the NRRD and MetaImage files that it writes."""
_CODE_STRING = re.compile(r"[A-Z][A-Z0-9_]{1,15}")


@dataclass(frozen=True, eq=False)
class StoredImage:
    """What a file holds: voxels (K, J, I) or, with several components, (K, J, I, C), read-only, in the stored dtype.

    modality: DICOM's, such as CT or MR; empty if the file does not say. source: the DICOM frames of the slices in
    their order (core.dicom_frames.Frame), to which a DICOM segmentation refers; empty for other files.
    """

    voxels: np.ndarray
    geometry: Geometry
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    modality: str = ""
    source: tuple[Any, ...] = ()


def modality_of(text: str | None) -> str:
    """DICOM's modality from a text; "" if that is not one."""
    text = (text or "").strip()
    return text if _CODE_STRING.fullmatch(text) else ""


def check_memory(path: Path, length: int) -> int:
    """Return `length`, in bytes. Raises BadInputError if it is more than all of the computer's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return length
    if length > memory > 0:
        raise BadInputError(
            f"{path} holds {length / 1e9:.4g} GB, more than this computer's memory of {memory / 1e9:.3g} GB.",
            "Crop or resample it, or read it on a larger computer.",
        )
    return length


def check_spacing(path: Path, spacing: Sequence[float]) -> None:
    """Raise BadInputError for a voxel size that is 0, negative, infinite or not a number."""
    if all(math.isfinite(length) and length > 0 for length in spacing):
        return
    shown = ", ".join(f"{length:g}" for length in spacing)
    raise BadInputError(
        f"The spacing of {path} is {shown}, so that its voxels have no size.",
        "Correct it in the file's header, or in 3D Slicer: module Volumes, Volume Information, Image Spacing.",
    )


def no_spacing_warning(path: Path, taken: Sequence[float] = (1.0, 1.0, 1.0)) -> str:
    """The warning about a file without voxel size, for which `taken` mm were assumed."""
    size = " x ".join(f"{length:.4g}" for length in taken)
    return (
        f"{path.name} does not state its voxel size; {size} mm was assumed. Do not trust sizes in mm and ml; "
        "save the image as .nrrd with its voxel size."
    )


def too_many_dimensions(path: Path, sizes: Sequence[int]) -> BadInputError:
    """The error for a file of several volumes."""
    what = " x ".join(map(str, sizes))
    return BadInputError(f"{path} is a 4D image ({what}).", "Export one of its 3D volumes to a file of its own.")
