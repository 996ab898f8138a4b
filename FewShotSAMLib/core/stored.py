"""What an image file holds, as the readers hand it on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from FewShotSAMLib.core.geometry import Geometry


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
