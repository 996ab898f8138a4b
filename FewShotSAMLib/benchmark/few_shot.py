"""FewShotSAM itself, through the same job that the background process runs: files in, files out."""

import tempfile
from pathlib import Path
from typing import Any

from FewShotSAMLib.benchmark.outcome import Outcome, Settings
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import Volume

STATE: dict[str, Any] = {}
"""The encoder stays warm from one row to the next, as it does in the background process."""


def few_shot(volume: Volume, annotation: Annotation, settings: Settings, **options: Any) -> Outcome:
    """`fewshotsam propagate` with its defaults but for `options`, parameters of the job."""
    from FewShotSAMLib.engine.context import JobContext
    from FewShotSAMLib.engine.jobs import propagate

    with tempfile.TemporaryDirectory(prefix="fewshotsam-benchmark-") as name:
        folder = Path(name)
        write_image(volume.voxels, volume.geometry, folder / "volume.nrrd")
        write_segmentation(annotation.segmentation, folder / "painted.seg.nrrd")
        cache = {"no_cache": True} if settings.cache is None else {"cache": str(settings.cache)}
        parameters = {
            "volume": str(folder / "volume.nrrd"),
            "annotation": str(folder / "painted.seg.nrrd"),
            "output": str(folder / "result.seg.nrrd"),
            "axis": annotation.axis,
            "empty_slices": list(annotation.empty),
            "encoder": settings.encoder,
            "device": settings.device,
            "precision": settings.precision,
            "seed": settings.seed,
            **cache,
            **options,
        }
        report = propagate(parameters, JobContext(state=STATE))
        result = read_segmentation(folder / "result.seg.nrrd")
    encoder = report["encoder"]
    details = {
        "stages": report["seconds"],
        "slices_encoded": encoder["slices_encoded"],
        "device": encoder["device"],
        "precision": encoder["precision"],
        "weights": encoder["weights_hash"],
    }
    return Outcome(result.mask(result.segments[0]), details)
