"""Packages for the background process: what is missing, and their installation with stand-ins for Slicer's modules.

The stand-ins have the signatures of Slicer 5.10 and 5.12 and of two versions of PyTorchUtils, so a wrong keyword fails;
what is "installed" has the layout of the real wheels.
"""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from harness import signatures, wheels
from packaging.requirements import Requirement

from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.widgets import dependencies as module
from FewShotSAMLib.widgets.dependencies import Dependencies

VERSIONS = {
    "torch": "2.9.0+cu128",
    "torchvision": "0.24.0",
    "filelock": "3.20.0",
    "h5py": "3.15.1",
    "platformdirs": "4.5.0",
    "rich": "14.0.0",
    "safetensors": "0.6.2",
    "scikit-learn": "1.7.2",
    "segment-anything": "1.0",
}
"""What the real wheels put into site-packages, where that is not their own name; see the test of it."""
TORCH_UTILS = """
calls = []
onInstall = None

class PyTorchUtilsLogic:
    @staticmethod
    def torchInstalled():
        raise TypeError("'NoneType' object is not iterable")

    def installTorch(self, askConfirmation=False, forceComputationBackend=None{more}):
        calls.append(dict(ask=askConfirmation, {record}))
        return onInstall()
"""
NEW_UTILS = TORCH_UTILS.format(
    more=", torchVersionRequirement=None, torchvisionVersionRequirement=None",
    record="torch=torchVersionRequirement, vision=torchvisionVersionRequirement",
)
OLD_UTILS = TORCH_UTILS.format(more="", record="")


class Computer:
    """A Python with only its standard library and what `put` adds, and a Slicer that records what it is asked."""

    def __init__(self, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.consents = True
        self.testing = False
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.pipped: list[list[str]] = []
        self.restartsOffered: list[tuple[str, list[str]]] = []
        self.onPip: Callable[[list[str]], None] = self.pip
        self._monkeypatch = monkeypatch

    def put(self, name: str, version: str | None = None) -> None:
        """Install a package that must not be imported."""
        wheels.install(self.site, name, version or VERSIONS[name])

    def putTorchUtils(self, code: str = NEW_UTILS) -> ModuleType:
        """Install the extension PyTorch, which installs torch and torchvision."""
        (self.site / "PyTorchUtils.py").write_text(code)
        importlib.invalidate_caches()
        utils = importlib.import_module("PyTorchUtils")
        utils.onInstall = lambda: [self.put("torch"), self.put("torchvision")]
        return utils

    def pip(self, arguments: list[str]) -> None:
        """Install what was requested, by name or from the file with the hash."""
        for text in arguments:
            if text == "-r":
                self.put("segment-anything")
            elif text[0].isalpha():
                self.put(Requirement(text).name)

    def startSlicer(self, version: str) -> None:
        """Make `import slicer` give this computer's Slicer 5.10 or 5.12."""
        slicer = ModuleType("slicer")
        slicer.app = SimpleNamespace(testingEnabled=lambda: self.testing)
        slicer.util = ModuleType("slicer.util")
        util: Any = slicer.util

        def confirmOkCancelDisplay(text, windowTitle=None, parent=None, **kwargs):
            assert not self.testing, "answers itself with OK then"
            self.asked.append(text)
            return self.consents

        def errorDisplay(text, windowTitle=None, parent=None, standardButtons=None, **kwargs):
            assert set(kwargs) <= {"detailedText"}
            self.errors.append(text)

        class WaitCursor(nullcontext):
            def __init__(self, show: bool = True) -> None:
                super().__init__()

        def pip_install(requirements):
            assert isinstance(requirements, list)
            self.pipped.append(requirements)
            self.onPip(requirements)

        def confirmYesNoDisplay(text, windowTitle=None, parent=None, **kwargs):
            self.restartsOffered.append((text, Dependencies().missing()))
            return True

        for double in (confirmOkCancelDisplay, errorDisplay, pip_install):
            signatures.check(double, "slicer.util", double.__name__, "5.10")
            setattr(util, double.__name__, double)
        signatures.check(WaitCursor.__init__, "slicer.util", "WaitCursor.__init__", "5.10")
        util.WaitCursor, util.confirmYesNoDisplay = WaitCursor, confirmYesNoDisplay
        util.restart = lambda: self.errors.append("restarted")
        self._monkeypatch.setitem(sys.modules, "slicer", slicer)
        self._monkeypatch.delitem(sys.modules, "slicer.packaging", raising=False)
        if version == "5.12":
            self._monkeypatch.setitem(sys.modules, "slicer.packaging", self._packaging())

    def _packaging(self) -> ModuleType:
        packaging: Any = ModuleType("slicer.packaging")

        def pip_install(
            requirements, constraints=None, no_deps_requirements=None, skip_packages=None, blocking=True,
            show_progress=True, requester=None, parent=None, logCallback=None, completedCallback=None,
        ):  # fmt: skip
            assert isinstance(requirements, list) and requester == "FewShotSAM"
            self.pipped.append(requirements)
            self.onPip(requirements)

        signatures.check(pip_install, "slicer.packaging", "pip_install", "5.12")
        packaging.pip_install = pip_install
        return packaging


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    site = tmp_path / "site-packages"
    site.mkdir()
    # Only the standard library: the packages of the test's own Python must not be found.
    library = sysconfig.get_paths()["stdlib"]
    standard = [path for path in sys.path if path.startswith(library) and "-packages" not in path]
    monkeypatch.setattr(sys, "path", [str(site), *standard])
    for name in [*(each for folders in wheels.FOLDERS.values() for each in folders), "PyTorchUtils"]:
        monkeypatch.setitem(sys.modules, name, None)  # so that monkeypatch removes it at the end
        del sys.modules[name]
    made = Computer(site, monkeypatch)
    made.startSlicer("5.12")
    return made


@pytest.mark.parametrize(("utils", "version"), [(OLD_UTILS, "9921fcb4ca"), (NEW_UTILS, "f677db994c")])
def test_the_stand_ins_of_pytorch_utils_have_the_real_signatures(utils: str, version: str) -> None:
    namespace: dict[str, Any] = {}
    exec(utils, namespace)
    for name in ("installTorch", "torchInstalled"):
        double = getattr(namespace["PyTorchUtilsLogic"], name)
        signatures.check(double, "PyTorchUtils", f"PyTorchUtilsLogic.{name}", version)


def names(requirements: list[str]) -> set[str]:
    return {Requirement(text).name for text in requirements}


def test_all_is_missing_on_a_fresh_computer_and_nothing_on_a_complete_one(computer: Computer) -> None:
    assert names(Dependencies().missing()) == set(VERSIONS)
    for name in VERSIONS:
        computer.put(name)
    assert Dependencies().missing() == []
    assert Dependencies().status() == ""
    assert Dependencies().install() and not computer.asked


def test_too_old_a_version_counts_as_missing_and_a_build_of_slicers_own_does_not(computer: Computer) -> None:
    for name in VERSIONS:
        computer.put(name, {"h5py": "3.9.0", "safetensors": "0.7.0rc1.dev20"}.get(name))
    assert Dependencies().missing() == ["h5py>=3.10"]
    assert "h5py" in Dependencies().status() and "Press Install" in Dependencies().status()


@pytest.mark.parametrize("version", ["5.10", "5.12"])
@pytest.mark.parametrize(("utils", "keywords"), [(OLD_UTILS, set()), (NEW_UTILS, {"torch", "vision"})])
def test_install_asks_once_and_brings_everything(
    computer: Computer, version: str, utils: str, keywords: set[str]
) -> None:
    computer.startSlicer(version)
    torchUtils = computer.putTorchUtils(utils)
    assert Dependencies().install()
    assert Dependencies().status() == "" and not computer.errors
    (question,) = computer.asked
    assert all(name in question for name in VERSIONS) and "3 GB" in question
    (call,) = torchUtils.calls
    assert set(call) == {"ask", *keywords} and call.get("torch", ">=2.4") == ">=2.4" and not call["ask"]
    plain, pinned = computer.pipped
    assert names(plain) == {"filelock", "h5py", "platformdirs", "rich", "safetensors", "scikit-learn"}
    assert pinned == ["--require-hashes", "--no-deps", "-r", str(resource_path("requirements-segment-anything.txt"))]


@pytest.mark.parametrize("version", ["5.10", "5.12"])
def test_a_restart_is_offered_once_at_the_end_where_a_loaded_package_was_replaced(
    computer: Computer, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer.startSlicer(version)
    computer.putTorchUtils()
    computer.put("filelock", "3.0.0")
    monkeypatch.setitem(sys.modules, "filelock", ModuleType("filelock"))
    assert Dependencies().install()
    ((text, missing),) = computer.restartsOffered
    assert "filelock" in text and missing == [] and computer.errors == ["restarted"]
    for name in ("torch", "h5py"):
        assert name not in text, "what is new was not loaded"


def test_no_restart_is_offered_where_nothing_loaded_was_replaced(computer: Computer) -> None:
    computer.putTorchUtils()
    computer.put("filelock", "3.0.0")
    assert Dependencies().install() and not computer.restartsOffered


def test_only_what_is_missing_is_installed(computer: Computer) -> None:
    for name in set(VERSIONS) - {"h5py"}:
        computer.put(name)
    assert Dependencies().install()
    assert computer.pipped == [["h5py>=3.10"]]


def test_nothing_happens_without_consent(computer: Computer) -> None:
    torchUtils = computer.putTorchUtils()
    computer.consents = False
    assert not Dependencies().install()
    assert not Dependencies().installFromFolder(folderOfWheels(computer))
    assert len(computer.asked) == 2 and not computer.pipped and not torchUtils.calls and not computer.errors


def test_nothing_is_installed_while_slicer_tests_itself(computer: Computer) -> None:
    torchUtils = computer.putTorchUtils()
    computer.testing = True
    assert not Dependencies().install()
    assert not computer.pipped and not torchUtils.calls


def test_without_the_extension_pytorch_the_user_learns_where_to_get_it(computer: Computer) -> None:
    assert "Extensions Manager" in Dependencies().status()
    assert not Dependencies().install()
    assert computer.errors == [Dependencies().status()] and not computer.asked and not computer.pipped


@pytest.mark.parametrize("left", ["metadata", "folder"])
def test_damaged_torch_is_named_with_its_folder(computer: Computer, left: str) -> None:
    for name in VERSIONS:
        computer.put(name)
    if left == "metadata":  # the files are missing
        (computer.site / "torch" / "__init__.py").unlink()
    else:  # an interrupted installation: no version, no list of files
        info = next(computer.site.glob("torch-*.dist-info"))
        (info / "METADATA").write_text("")
        (info / "RECORD").unlink()
    computer.putTorchUtils()
    importlib.invalidate_caches()
    assert Dependencies().missing() == ["torch>=2.4"]
    assert "damaged" in Dependencies().status() and str(computer.site) in Dependencies().status()
    assert not Dependencies().install() and not computer.asked
    assert not Dependencies().installFromFolder(folderOfWheels(computer)) and not computer.asked
    assert computer.errors == [Dependencies().status()] * 2


@pytest.mark.parametrize("failure", [subprocess.CalledProcessError(1, "pip install"), RuntimeError("no PythonSlicer")])
def test_a_failure_is_shown_with_the_next_step(computer: Computer, failure: Exception) -> None:
    computer.putTorchUtils()

    def fail(arguments: list[str]) -> None:
        raise failure

    computer.onPip = fail
    assert not Dependencies().install()
    (text,) = computer.errors
    assert "could not be installed" in text and "Install again" in text


def test_a_torch_that_does_not_load_is_shown(computer: Computer) -> None:
    def fail() -> None:
        raise OSError("[WinError 126] The specified module could not be found: c10.dll")

    computer.putTorchUtils().onInstall = fail
    assert not Dependencies().install()
    assert len(computer.errors) == 1 and names(Dependencies().missing()) == {"torch", "torchvision"}


def test_what_is_still_missing_afterwards_is_named(computer: Computer) -> None:
    computer.putTorchUtils().onInstall = lambda: None  # PyTorchUtils gives up silently
    assert not Dependencies().install()
    assert len(computer.errors) == 1 and "torch>=2.4" in computer.errors[0]


def test_a_path_too_long_for_windows_is_told_before(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "C:\\Users\\" + "x" * 130
    monkeypatch.setattr(module.sysconfig, "get_paths", lambda: {"purelib": long})
    computer.putTorchUtils()
    computer.consents = False
    Dependencies().install()
    monkeypatch.setattr(module, "os", SimpleNamespace(name="nt"))
    Dependencies().install()
    assert [long in question for question in computer.asked] == [False, True]


def folderOfWheels(computer: Computer) -> Path:
    folder = computer.site.parent / "räder und mehr"
    folder.mkdir(exist_ok=True)
    for name, version in VERSIONS.items():
        wheels.makeWheel(folder, name, version)
    return folder


def realPip(computer: Computer) -> Callable[[list[str]], None]:
    """Run pip itself, installing into the computer's folder, always without internet."""

    def install(arguments: list[str]) -> None:
        assert "--no-index" in arguments
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(computer.site), *arguments]
        subprocess.run(command, check=True, capture_output=True)
        importlib.invalidate_caches()

    return install


def test_real_wheels_from_a_folder(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.onPip = realPip(computer)
    folder = folderOfWheels(computer)
    digest = hashlib.sha256((folder / "segment_anything-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    pinned = computer.site.parent / "pinned.txt"
    pinned.write_text(f"segment-anything==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setattr(module, "_pinnedFile", lambda: pinned)
    assert Dependencies().installFromFolder(folder), computer.errors
    assert Dependencies().missing() == [] and len(computer.asked) == 1
    assert str(folder) in computer.asked[0]


def test_another_segment_anything_than_the_reviewed_one_is_refused(computer: Computer) -> None:
    computer.onPip = realPip(computer)
    assert not Dependencies().installFromFolder(folderOfWheels(computer))
    assert "segment-anything==1.0" in Dependencies().missing()
    assert "could not be installed" in computer.errors[0]


def test_a_folder_without_wheels_tells_how_to_fill_it(computer: Computer, tmp_path: Path) -> None:
    assert not Dependencies().installFromFolder(tmp_path)
    (text,) = computer.errors
    assert "pip download" in text and all(name in text for name in VERSIONS) and not computer.asked
