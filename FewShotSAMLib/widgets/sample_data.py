"""Registers the tutorial's volumes in Slicer's Sample Data module."""

from __future__ import annotations

from FewShotSAMLib.widgets.translation import _

CATEGORY = "FewShotSAM"
# Where Slicer publishes its sample volumes, each under its checksum.
HOST = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"


# Title, node, file and SHA-256 of Slicer's sample volumes. With Slicer's own file names, each is downloaded only once.
SAMPLE_VOLUMES = (
    ("abdominal CT", "CTLiver", "CTLiver.nrrd", "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e"),
    ("chest CT", "CTChest", "CT-chest.nrrd", "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e"),
    ("head MR", "MRHead", "MR-head.nrrd", "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"),
)


def registerSampleData() -> None:
    """Add the volumes to Sample Data; nothing is downloaded before the user clicks one. May be called repeatedly.

    Sample Data shows its own picture of each, which it finds by the node's name. Call this when Slicer's start is
    complete (`startupCompleted()`), and the Sample Data module is available.
    """
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # not in Slicer 5.10
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("FewShotSAM: paint a few slices, get the volume"))
    for title, node, file, sha256 in SAMPLE_VOLUMES:
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=f"FewShotSAM {title}",
            uris=HOST + sha256,
            fileNames=file,
            nodeNames=node,
            checksums=f"SHA256:{sha256}",
        )
