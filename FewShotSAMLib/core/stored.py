"""What an image file holds, as the readers hand it on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from FewShotSAMLib.core.geometry import Geometry

MODALITY_KEY = "0008|0060"
"""Where ITK keeps DICOM's modality, in memory and in the NRRD and MetaImage files that it writes."""
_CODE_STRING = re.compile(r"[A-Z][A-Z0-9_]{1,15}")


@dataclass(frozen=True, eq=False)
class StoredImage:
    """What a file holds: voxels (K, J, I) or, with several components, (K, J, I, C), read-only, in the stored dtype.

    modality: DICOM's, such as CT or MR; empty where the file does not say. source: the DICOM frames of the slices in
    their order (core.dicom_frames.Frame), to which a DICOM segmentation refers; empty for other files.
    """

    voxels: np.ndarray
    geometry: Geometry
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    modality: str = ""
    source: tuple[Any, ...] = ()


def modality_of(text: str | None) -> str:
    """DICOM's modality as somebody wrote it down; "" where it is none."""
    text = (text or "").strip()
    return text if _CODE_STRING.fullmatch(text) else ""
