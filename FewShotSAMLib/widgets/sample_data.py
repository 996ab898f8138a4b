"""Registers the tutorial's volumes in Slicer's module Sample Data."""

from __future__ import annotations

from dataclasses import dataclass

from FewShotSAMLib.widgets.translation import _

CATEGORY = "FewShotSAM"
# Where Slicer publishes its own sample volumes, each under its checksum.
HOST = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"


@dataclass(frozen=True)
class SampleVolume:
    """One of Slicer's own sample volumes: the file's name is Slicer's, too, so that it is downloaded once only."""

    name: str
    node: str
    file: str
    sha256: str


SAMPLE_VOLUMES = (
    SampleVolume(
        "FewShotSAM abdominal CT",
        "CTLiver",
        "CTLiver.nrrd",
        "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e",
    ),
    SampleVolume(
        "FewShotSAM chest CT",
        "CTChest",
        "CT-chest.nrrd",
        "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e",
    ),
    SampleVolume(
        "FewShotSAM head MR",
        "MRHead",
        "MR-head.nrrd",
        "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93",
    ),
)


def registerSampleData() -> None:
    """Add the volumes to Sample Data; nothing is downloaded before the user clicks one. May be called again.

    Sample Data shows its own picture of each, which it finds by the node's name. To be called once Slicer's start is
    complete (`startupCompleted()`), when the module Sample Data is there.
    """
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # not in Slicer 5.10
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("FewShotSAM: paint a few slices, get the volume"))
    for volume in SAMPLE_VOLUMES:
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=volume.name,
            uris=HOST + volume.sha256,
            fileNames=volume.file,
            nodeNames=volume.node,
            checksums=f"SHA256:{volume.sha256}",
        )
