"""A phantom with painted slices, as files."""

from collections.abc import Sequence
from pathlib import Path

from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import write_segmentation


def write(
    folder: Path, slices: Sequence[int], organs: Sequence[str], depth: int, seed: int, volume: str = "volume.nrrd"
) -> dict[str, str]:
    """Write a volume (depth, 40, 48) and its painted slices; return both as parameters of a job."""
    image, truth = ct_phantom((depth, 40, 48), seed)
    annotation = folder / f"{volume.partition('.')[0]}-painted.seg.nrrd"
    write_image(image.voxels, image.geometry, folder / volume)
    write_segmentation(keep_slices(truth, 0, slices, organs), annotation)
    return {"volume": str(folder / volume), "annotation": str(annotation)}
