"""The panel with everything real around it; only what the Slicer application provides is replaced by stand-ins."""

import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import slicer
import slicer.util
from harness import scripted, signatures, wheels
from harness.application import values
from harness.launcher import makePythonSlicer
from journey import MODULE, Journey

from FewShotSAMLib.widgets.dependencies import Dependencies

TORCH = ("torch", "torchvision")


class Slicer:
    """What the application adds to the harness: its Python, its folders, packages, and an answer to each question."""

    def __init__(self, folder: Path, workerPython: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.absent: set[str] = {*TORCH}
        self.asked: list[str] = []
        self._site, self._patch = folder / "site-packages", monkeypatch
        self._site.mkdir()
        monkeypatch.syspath_prepend(str(self._site))
        makePythonSlicer(folder, workerPython)
        monkeypatch.setitem(values, "slicerHome", str(folder))
        monkeypatch.setitem(values, "slicerUserSettingsFilePath", str(folder / "NA-MIC" / "Slicer.ini"))
        monkeypatch.setitem(values, "temporaryPath", str(folder / "Slicer-user"))
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self._confirm)
        for name in ("version", "distribution"):
            monkeypatch.setattr(importlib.metadata, name, self._hiding(getattr(importlib.metadata, name)))
        packaging: Any = ModuleType("slicer.packaging")
        for name in ("pip_install", "pip_ensure"):
            setattr(packaging, name, self._installer(name))
        monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)

    def _installer(self, name: str) -> Any:
        """slicer.packaging's function of that name: installs what is missing, and has the real one's parameters."""
        real = signatures.real("slicer.packaging", name, "5.12")

        def install(*values: Any, **named: Any) -> None:
            real.bind(*values, **named)
            self.put(*self._wanted())

        return install

    def _confirm(self, text: str, **options: Any) -> bool:
        self.asked.append(text)
        return True

    def _hiding(self, find: Any) -> Any:
        def found(name: str) -> Any:
            if name in self.absent:
                raise importlib.metadata.PackageNotFoundError(name)
            return find(name)

        return found

    def _wanted(self) -> list[str]:
        return [text for text in Dependencies().missing() if not text.startswith(TORCH)]

    def put(self, *requirements: str) -> None:
        """Install packages that must not be imported."""
        for text in requirements:
            name, version = text.replace("==", ">=").split(">=")
            wheels.install(self._site, name, version)
            self.absent.discard(name)

    def installExtension(self) -> None:
        """Install the extension PyTorch."""
        utils: Any = ModuleType("PyTorchUtils")

        class PyTorchUtilsLogic:
            def installTorch(
                _self,  # noqa: N805
                askConfirmation=False,
                forceComputationBackend=None,
                torchVersionRequirement=None,
                torchvisionVersionRequirement=None,
            ) -> None:
                assert not askConfirmation and torchVersionRequirement == ">=2.4"
                self.put("torch>=2.4", "torchvision>=0.19")

        utils.PyTorchUtilsLogic = PyTorchUtilsLogic
        self._patch.setitem(sys.modules, "PyTorchUtils", utils)


@pytest.mark.skipif(sys.platform == "win32", reason="PythonSlicer is a shell script here")
def test_from_nothing_installed_to_a_background_process(
    scene: Any, tmp_path: Path, worker_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = Slicer(tmp_path, worker_python, monkeypatch)
    journey = Journey(tmp_path, None, realServices=True)
    try:
        ui, session = journey.ui, journey.session
        journey.representation.enter()
        assert ui.dependencyFrame.visible
        assert "Extensions Manager" in ui.dependencyLabel.text, "the extension PyTorch comes first"
        assert not ui.propagateButton.enabled and ui.propagateButton.toolTip == ui.dependencyLabel.text
        application.installExtension()
        journey.representation.exit()
        journey.representation.enter()
        assert "torch, torchvision" in ui.dependencyLabel.text and "Press Install" in ui.dependencyLabel.text
        assert session.machine is None
        journey.press("installButton")
        assert len(application.asked) == 1 and "torch>=2.4" in application.asked[0]
        assert not ui.dependencyFrame.visible
        journey.rest()
        assert session.machine is None, "nothing needs it yet"
        ui.advancedSection.collapsed = False
        journey.until(lambda: session.machine is not None)  # PythonSlicer's own answer
        assert [device.name for device in session.machine.devices][-1] == "cpu"
        assert ui.propagateButton.toolTip == session.why_not()
        assert session.models.folder == tmp_path / "NA-MIC" / "FewShotSAM" / "Models"
        assert any(each.is_dir() for each in (tmp_path / "Slicer-user").iterdir()), "the job folder"
    finally:
        journey.close()
    assert not list((tmp_path / "Slicer-user").iterdir())
    assert not {*TORCH, "h5py"} & set(sys.modules)


def test_an_incomplete_slicer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PythonSlicer nothing can be computed; the module opens with a message and nothing else."""
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **options: told.append(text))
    representation = scripted.openModule(MODULE)
    assert "PythonSlicer was not found" in told[0] and "Install 3D Slicer again" in told[0]
    representation.enter()
    representation.exit()
    scripted.closeModule("FewShotSAM")
