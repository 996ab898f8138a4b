"""The tutorial's volumes are registered with URLs that contain their checksum, in Slicer 5.10 and 5.12."""

import sys
from types import ModuleType
from typing import Any

import pytest

from FewShotSAMLib.widgets.sample_data import CATEGORY, registerSampleData


class Logic:
    """Slicer 5.10's SampleDataLogic, as far as it is used."""

    sources: list[dict[str, Any]]

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: str | None = None,
        fileNames: str | None = None,
        nodeNames: str | None = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        checksums: str | None = None,
    ) -> None:
        source = {"category": category, "name": sampleName, "uri": uris, "file": fileNames, "node": nodeNames}
        Logic.sources.append({**source, "thumbnail": thumbnailFileName, "checksum": checksums})


class NewLogic(Logic):
    """Slicer 5.12's."""

    titles: dict[str, str]

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        NewLogic.titles[category] = title


@pytest.mark.parametrize("logic", [Logic, NewLogic])
def test_volumes_are_registered_with_their_checksums(logic: type[Logic], monkeypatch: pytest.MonkeyPatch) -> None:
    Logic.sources, NewLogic.titles = [], {}
    module: Any = ModuleType("SampleData")
    module.SampleDataLogic = logic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    registerSampleData()
    assert len(Logic.sources) == 3
    for source in Logic.sources:
        algorithm, digest = source["checksum"].split(":")
        assert algorithm == "SHA256" and len(bytes.fromhex(digest)) == 32
        assert source["uri"] == f"https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/{digest}"
        assert source["category"] == CATEGORY and source["file"].endswith(".nrrd") and source["node"]
        assert source["thumbnail"] is None, "Sample Data shows its own picture of the data, by the node's name"
        assert source["node"] in ("CTLiver", "CTChest", "MRHead")
    assert len({source["name"] for source in Logic.sources}) == 3
    assert set(NewLogic.titles) == ({CATEGORY} if logic is NewLogic else set())
