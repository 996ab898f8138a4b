"""Volumes, segmentations, sparse annotations, normalisation, post-processing and metrics, without deep learning."""

from FewShotSAMLib.core.annotation import IGNORE, Annotation, annotate
from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError, MemoryShortageError
from FewShotSAMLib.core.files import atomic_path, atomic_paths, check_writable, compound_suffix, pending_files
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.intensity import PRESETS, IntensityWindow, Normalisation, parse_normalisation
from FewShotSAMLib.core.metrics import assd, dice, hd95, iou
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.postprocess import PostProcessing
from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.core.segmentation import (
    Segment,
    Segmentation,
    check_output,
    place_on,
    read_segmentation,
    write_segmentation,
)
from FewShotSAMLib.core.volume import Volume, read_volume

__all__ = [
    "IGNORE",
    "PRESETS",
    "Annotation",
    "BadInputError",
    "CancelledError",
    "FewShotSAMError",
    "Geometry",
    "IntensityWindow",
    "MemoryShortageError",
    "Normalisation",
    "PostProcessing",
    "Segment",
    "Segmentation",
    "Volume",
    "annotate",
    "assd",
    "atomic_path",
    "atomic_paths",
    "check_output",
    "check_writable",
    "compound_suffix",
    "ct_phantom",
    "dice",
    "hd95",
    "iou",
    "parse_normalisation",
    "pending_files",
    "place_on",
    "read_segmentation",
    "read_volume",
    "resource_path",
    "write_image",
    "write_segmentation",
]
