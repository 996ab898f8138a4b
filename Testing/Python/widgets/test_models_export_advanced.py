"""Few-shot models, export, advanced settings, and what a run will cost."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import qt
import slicer

from FewShotSAMLib.engine.request import PropagateRequest
from FewShotSAMLib.sam.registry import get_spec
from FewShotSAMLib.widgets.advanced_section import AdvancedSection
from FewShotSAMLib.workflow import ModelEntry, Settings, State


@pytest.fixture
def models(panel: Any) -> Any:
    """Two models, the second of which is selected; the section is expanded."""
    for name in ("liver CT", "spleen MR"):
        panel.session.models.put(name)
    panel.ui.modelsSection.collapsed = False
    panel.ui.modelList.topLevelItem(1).setSelected(True)
    return panel


def names(panel: Any) -> list[str]:
    listed = panel.ui.modelList
    return [listed.topLevelItem(row).text(0) for row in range(listed.topLevelItemCount)]


def selected(panel: Any) -> list[str]:
    listed = panel.ui.modelList
    items = [listed.topLevelItem(row) for row in range(listed.topLevelItemCount)]
    return [item.text(0) for item in items if item.isSelected()]


def test_models_are_listed(models: Any) -> None:
    assert names(models) == ["liver CT", "spleen MR"]
    item = models.ui.modelList.topLevelItem(0)
    assert (item.text(1), item.text(2)) == ("liver, tumour", "axial")
    assert item.toolTip(0) == "few-shot, encoder tiny, 2 MB"


def test_a_model_is_saved_under_a_name(models: Any) -> None:
    assert not models.ui.saveModelButton.enabled
    models.go(learned_model="learned.fewshot")
    models.dialogs.answer = ""
    models.ui.saveModelButton.click()
    assert models.session.called("save_model") == []
    models.dialogs.answer = "kidney"
    models.ui.saveModelButton.click()
    assert models.session.called("save_model") == [("kidney",)]


def test_a_model_is_renamed_deleted_loaded_and_exported(models: Any) -> None:
    models.dialogs.answer = "/tmp/kidney.fewshot"
    models.ui.exportModelButton.click()
    ((entry, path),) = models.session.models.copied
    assert (entry.name, path) == ("spleen MR", Path("/tmp/kidney.fewshot"))
    models.ui.loadModelButton.click()
    assert names(models) == ["liver CT", "spleen MR", "kidney"]
    assert selected(models) == ["kidney"], "what has just come is what one goes on with"
    models.dialogs.answer = "kidney 3 T"
    models.session.choose_earlier("kidney")
    models.ui.renameModelButton.click()
    assert models.session.earlier == ("kidney 3 T",) == models.widget.panel.services.parameters.earlier
    assert names(models) == ["liver CT", "spleen MR", "kidney 3 T"]
    assert selected(models) == ["kidney 3 T"]
    assert models.ui.exportModelButton.enabled and models.ui.deleteModelButton.enabled
    models.ui.modelList.topLevelItem(0).setSelected(True)
    models.dialogs.answer = False
    models.ui.deleteModelButton.click()
    assert len(names(models)) == 3
    models.dialogs.answer = True
    models.ui.deleteModelButton.click()
    assert names(models) == ["spleen MR", "kidney 3 T"]


def test_a_file_that_is_no_model_is_told(models: Any) -> None:
    models.dialogs.answer = "/tmp/notes.txt"
    models.ui.loadModelButton.click()
    assert "notes.txt is no few-shot model. Choose a file" in models.ui.messageLabel.text


def test_a_model_is_applied_to_the_ticked_volumes(models: Any, scene: Any) -> None:
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")  # not a volume to segment
    models.go()
    listed = models.ui.volumeList
    assert [listed.item(row).text() for row in range(listed.count)] == ["CT abdomen"]
    assert not models.ui.applyModelButton.enabled
    listed.item(0).setCheckState(qt.Qt.Checked)
    models.ui.applyModelButton.click()
    ((entry, volumes),) = models.session.called("apply_model")
    assert isinstance(entry, ModelEntry)
    assert (entry.name, volumes) == ("spleen MR", [scene.volume.GetID()])
    models.go(state=State.RUNNING)
    assert not models.ui.applyModelButton.enabled


def test_the_table_of_several_volumes_opens_once_it_is_there(models: Any) -> None:
    models.go(applied=SimpleNamespace(page=None))
    assert models.ui.showTableButton.isHidden()
    models.go(applied=SimpleNamespace(page=Path("/tmp/applied.html")))
    assert not models.ui.showTableButton.isHidden()
    models.ui.showTableButton.click()
    assert models.dialogs.pages == [Path("/tmp/applied.html")]


@pytest.mark.parametrize(
    ("position", "answer", "written"),
    [
        (0, "/x/a.seg.nrrd", "/x/a.seg.nrrd"),
        (0, "/x/a", "/x/a.seg.nrrd"),
        (1, "/x/a", "/x/a.nrrd"),
        (2, "/x/ä", "/x/ä.nii.gz"),
    ],
)
def test_export(panel: Any, scene: Any, position: int, answer: str, written: str) -> None:
    panel.ui.volumeSelector.setCurrentNodeID("")
    panel.wait(2)
    assert not panel.ui.exportButton.enabled
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.wait(2)
    panel.ui.exportFormat.setCurrentIndex(position)
    panel.dialogs.answer = answer
    panel.ui.exportButton.click()
    assert panel.session.called("export") == [(Path(written),)]


def test_a_completed_name_replaces_no_file_without_a_question(panel: Any, scene: Any, tmp_path: Path) -> None:
    """The file dialog only asked about the name without suffix."""
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.wait(2)
    (tmp_path / "liver.seg.nrrd").write_text("precious")
    panel.dialogs.answer = str(tmp_path / "liver")
    asked: list[str] = []
    for agrees in (False, True):
        panel.dialogs.confirm = lambda text, title, agrees=agrees: asked.append(text) or agrees
        panel.ui.exportButton.click()
        assert panel.session.called("export") == [(tmp_path / "liver.seg.nrrd",)] * agrees
    assert ["liver.seg.nrrd" in text for text in asked] == [True, True]
    panel.dialogs.answer = str(tmp_path / "liver.seg.nrrd")
    panel.ui.exportButton.click()
    assert len(asked) == 2, "the file dialog has asked"


def test_an_exported_model_gets_its_suffix(models: Any) -> None:
    models.dialogs.answer = "/x/kidney"
    models.ui.exportModelButton.click()
    assert [path for _, path in models.session.models.copied] == [Path("/x/kidney.fewshot")]


def choose(choice: Any, value: str) -> None:
    assert choice.findData(value) >= 0, value
    choice.setCurrentIndex(choice.findData(value))


def test_settings_reach_the_session_and_the_next_start(panel: Any) -> None:
    ui = panel.ui
    panel.go(machine=fakes.machine(gpu=True))
    choose(ui.methodChoice, "autosam-vit")
    choose(ui.encoderChoice, "vit_b")
    choose(ui.deviceChoice, "cpu")
    choose(ui.precisionChoice, "fp32")
    ui.largestIslandCheck.click()
    ui.smoothing.setValue(1.5)
    ui.cacheLimit.setValue(5)
    panel.dialogs.answer = "/weights/médical.pth"
    ui.checkpointButton.click()
    expected = Settings(
        method="autosam-vit",
        encoder="vit_b",
        checkpoint="/weights/médical.pth",
        device="cpu",
        precision="fp32",
        cache_limit_gb=5,
        largest_island=True,
        smooth_mm=1.5,
    )
    assert panel.session.settings == expected
    assert panel.store.load() == expected


def test_all_methods_can_be_chosen(panel: Any) -> None:
    choice = panel.ui.methodChoice
    found = [choice.itemData(position) for position in range(choice.count)]
    assert set(found) == {
        "few-shot",
        "autosam-vit",
        "autosam-cnn",
        "autosam-linear",
        "synthesis",
        "lora",
        "cheap-lunch",
        "pixel-classifier",
    }


def test_a_choice_of_an_earlier_start_stays_before_the_computer_is_looked_at(panel: Any) -> None:
    panel.go(settings=Settings(device="cuda:1", encoder="vit_l"))
    panel.ui.fillHolesCheck.click()
    assert panel.session.settings == Settings(device="cuda:1", encoder="vit_l", fill_holes=True)


def test_damaged_settings_are_the_defaults(panel: Any) -> None:
    qt.QSettings().setValue("FewShotSAM/Settings", "{]")
    assert panel.store.load() == Settings()


def test_wrong_values_of_earlier_versions_are_understood_or_told(panel: Any) -> None:
    """The panel once offered “float16”, which no job accepted, and stored it."""
    kept = {"precision": "float16", "device": "gpu", "smooth_mm": 400.0, "method": "lora", "fill_holes": True, "new": 1}
    qt.QSettings().setValue("FewShotSAM/Settings", json.dumps(kept))
    settings = panel.store.load()
    assert settings == Settings(precision="fp16", method="lora", fill_holes=True)
    services = panel.widget.panel.services
    panel.session.settings = settings
    for choice in ("method", "encoder", "device", "precision"):  # the existing section must not be notified
        getattr(panel.ui, f"{choice}Choice").blockSignals(True)
    AdvancedSection(panel.ui, services, panel.widget.panel._messages)
    assert all(word in panel.ui.messageLabel.text for word in ("device", "smooth mm", "Choose them again"))
    panel.go(settings=settings)
    assert panel.ui.precisionChoice.currentText == "float16"
    assert panel.store.load() == settings and not panel.store.dropped, "it is said once"


def test_a_job_takes_whatever_the_panel_offers(panel: Any) -> None:
    ui = panel.ui
    panel.go(machine=fakes.machine(gpu=True))
    needed = {"volume": "v.nrrd", "annotation": "a.seg.nrrd", "output": "o.seg.nrrd"}
    tried = 0
    for choice in (ui.methodChoice, ui.encoderChoice, ui.deviceChoice, ui.precisionChoice):
        for position in range(choice.count):
            choice.setCurrentIndex(position)
            asked = panel.session.settings.parameters()
            assert choice.itemData(position) in ("auto", "few-shot", *asked.values())
            request = PropagateRequest.from_parameters({**needed, **asked})
            assert request.compute.encoder == "auto" or get_spec(request.compute.encoder)
            tried += 1
    assert tried > 18
    for number in (ui.smoothing, ui.cacheLimit):
        for value in (number.minimum, number.maximum):
            number.setValue(value)
            PropagateRequest.from_parameters({**needed, **panel.session.settings.parameters()})


def test_a_download_needs_consent(panel: Any) -> None:
    panel.ui.advancedSection.collapsed = False
    panel.go(machine=fakes.machine(), settings=Settings(encoder="vit_b"))
    assert "375 MB to download" in panel.ui.encoderLabel.text
    panel.dialogs.answer = False
    panel.ui.downloadButton.click()
    assert panel.session.called("download") == []
    panel.dialogs.answer = True
    panel.ui.downloadButton.click()
    assert panel.session.called("download") == [("vit_b",)]
    question = panel.dialogs.asked[-1][0]
    assert all(part in question for part in ("375 MB", "Apache-2.0", "user folder", "SHA-256"))


def test_the_cache_is_shown_and_deleted_after_a_question(panel: Any) -> None:
    panel.go(machine=fakes.machine())
    assert panel.ui.cacheLabel.text == "1.3 GB of 20.0 GB"
    panel.dialogs.answer = False
    panel.ui.clearCacheButton.click()
    assert panel.session.called("clear_cache") == []
    panel.dialogs.answer = True
    panel.ui.clearCacheButton.click()
    assert panel.session.called("clear_cache") == [()]


def test_what_a_run_takes_is_told_and_only_what_it_lacks_is_red(panel: Any, scene: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=0, machine=fakes.machine(), settings=Settings(encoder="vit_b"))
    assert "about 4 min for 40 slices on the CPU" in panel.ui.costLabel.text
    assert "color" not in panel.ui.costLabel.text, "the usual way is no fault"
    panel.go(range=(0, 9))
    assert "about 2 min for 10 slices" in panel.ui.costLabel.text
    panel.go(machine=fakes.machine(gpu=True))
    assert "NVIDIA RTX 4070" in panel.ui.costLabel.text
    panel.go(machine=fakes.machine(free=500_000_000))
    time, memory = panel.ui.costLabel.text.split("<br>")
    assert "color" not in time and "color" in memory
    assert "smaller encoder" in memory


def test_settings_cannot_be_changed_under_a_run(panel: Any) -> None:
    panel.go(state=State.RUNNING)
    assert not panel.ui.settingsFrame.enabled
    assert not panel.ui.volumeSelector.enabled
    panel.go(state=State.IDLE)
    assert panel.ui.settingsFrame.enabled
