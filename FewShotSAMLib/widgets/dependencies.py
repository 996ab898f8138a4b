"""The packages that the background process needs in Slicer's Python: what is missing, and its installation on consent.

Packages are found by their metadata, not by importing them, as neither torch nor h5py may be loaded into Slicer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement

from FewShotSAMLib.core.packages import installed_version, modules_of
from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.widgets.translation import _

TORCH_PAIR = ("torch>=2.4", "torchvision>=0.19")
# The longest path within torch's wheel has about 120 characters, and Windows allows 260 in all.
LONGEST_PACKAGES_FOLDER = 130


class Dependencies:
    """The packages of `Resources/requirements*.txt` and torch. `missing` and `status` are cheap and change nothing."""

    def missing(self) -> list[str]:
        """The requirements that are not met, such as "h5py>=3.10"."""
        return [text for text in self._allRequirements() if not _isMet(Requirement(text))]

    def status(self) -> str:
        """One line that says what is missing and what to do next; "" if nothing is missing."""
        missing = self.missing()
        if not missing:
            return ""
        obstacle = self._obstacle(missing)
        if obstacle:
            return obstacle
        names = ", ".join(Requirement(text).name for text in missing)
        return _("Python packages are missing: {names}. Press Install…; without internet, From folder….").format(
            names=names
        )

    def install(self) -> bool:
        """Ask, then install what is missing from the internet. Returns whether everything is installed at the end.

        Failures are shown to the user. Nothing is installed while Slicer runs its tests.
        """
        missing = self.missing()
        if not missing:
            return True
        obstacle = self._obstacle(missing)
        if obstacle:
            return self._refuse(obstacle)
        source = _(
            "They are downloaded from pypi.org and pytorch.org (PyTorch: 0.2 GB, with support for an NVIDIA GPU up to "
            "3 GB) and installed in 3D Slicer's Python. Nothing about you or your images is sent."
        )
        if not self._consent(missing, source):
            return False
        light = [text for text in missing if text not in TORCH_PAIR]
        steps = [lambda: self._installPlain(light, []), lambda: self._installPinned(light, [])]
        if _ofTorch(missing):  # last, as it takes longest and fails most
            steps.append(_installTorch)
        hint = _("Check the internet connection and the log (Ctrl+0), restart 3D Slicer and press Install again.")
        return self._run(steps, hint)

    def installFromFolder(self, folder: str | Path) -> bool:
        """Ask, then install what is missing from a folder of wheels, for computers without internet. See `install`."""
        missing = self.missing()
        if not missing:
            return True
        hint = _("Fill the folder on a computer with internet and the same system and Python: {command}").format(
            command=self.downloadCommand()
        )
        if not any(Path(folder).glob("*.whl")):
            return self._refuse(_("There are no wheels (.whl) in {folder}.").format(folder=folder) + " " + hint)
        damage = _damageOfTorch()
        if damage and _ofTorch(missing):
            return self._refuse(damage)
        source = _("They are installed from {folder} in 3D Slicer's Python.").format(folder=folder)
        if not self._consent(missing, source):
            return False
        offline = ["--no-index", "--find-links", str(folder)]
        return self._run(
            [lambda: self._installPinned(missing, offline), lambda: self._installPlain(missing, offline)], hint
        )

    def downloadCommand(self) -> str:
        """The command that fills a folder with all wheels, for a computer with internet and the same Python."""
        wanted = " ".join(f'"{text}"' for text in self._allRequirements())
        return f"python -m pip download --only-binary=:all: --dest wheels {wanted}"

    def _allRequirements(self) -> list[str]:
        plain = _readRequirements(resource_path("requirements.txt"))
        return [*TORCH_PAIR, *plain, *(f"{name}=={version}" for name, version in self._pinned().items())]

    def _pinned(self) -> dict[str, str]:
        """Name and version of the packages that are pinned by their hash."""
        pairs = (text.split()[0].split("==") for text in _readRequirements(_pinnedFile()))
        return dict(pairs)

    def _obstacle(self, missing: list[str]) -> str:
        """Why an installation cannot start, and what to do; "" if nothing prevents it."""
        if not _ofTorch(missing):
            return ""
        damage = _damageOfTorch()
        if damage:
            return damage
        if not _hasPyTorchExtension():
            return _(
                "The PyTorch extension is missing: install it in the Extensions Manager (Ctrl+4), restart 3D Slicer "
                "and press Install."
            )
        return ""

    def _consent(self, missing: list[str], source: str) -> bool:
        import slicer

        if slicer.app.testingEnabled():  # dialogs then answer themselves with OK
            logging.info("Not installed, as 3D Slicer is testing itself: %s", ", ".join(missing))
            return False
        text = _("FewShotSAM needs these Python packages:\n\n{names}\n\n{source}\n\nInstall them?").format(
            names="\n".join(missing), source=source
        )
        warning = _warningOfLongPath()
        if warning:
            text += "\n\n" + warning
        return bool(slicer.util.confirmOkCancelDisplay(text, windowTitle=_("Install Python packages")))

    def _refuse(self, text: str, details: str = "") -> bool:
        import slicer

        more = {"detailedText": details} if details else {}
        slicer.util.errorDisplay(text, windowTitle=_("FewShotSAM was not installed"), **more)
        return False

    def _run(self, steps: list[Callable[[], None]], hint: str) -> bool:
        import slicer

        before = _versions()
        try:
            with slicer.util.WaitCursor():
                for step in steps:
                    step()
        # What pip and PyTorchUtils raise; ImportError and OSError if PyTorchUtils loads a torch that does not work.
        except (subprocess.CalledProcessError, RuntimeError, ImportError, OSError, TypeError, ValueError) as error:
            logging.exception("Installing Python packages failed")
            text = _("Python packages could not be installed.") + " " + hint
            return self._refuse(text, f"{type(error).__name__}: {error}")
        importlib.invalidate_caches()
        left = self.missing()
        if left:
            text = _("Still missing: {names}.").format(names=", ".join(left)) + " " + hint
            return self._refuse(text)
        _offerRestart(before)
        return True

    def _installPlain(self, missing: list[str], options: list[str]) -> None:
        """Install what is not pinned.

        Slicer's pip_ensure is not used, as it offers a restart when it is done, while torch is still to come.
        """
        pinned = self._pinned()
        plain = [text for text in missing if Requirement(text).name not in pinned]
        if plain:
            _pipInstall([*options, *plain])

    def _installPinned(self, missing: list[str], options: list[str]) -> None:
        """Install segment-anything: exactly the wheel that was reviewed, without its dependencies, or none."""
        pinned = self._pinned()
        if any(Requirement(text).name in pinned for text in missing):
            _pipInstall([*options, "--require-hashes", "--no-deps", "-r", str(_pinnedFile())])


def _pinnedFile() -> Path:
    return resource_path("requirements-segment-anything.txt")


def _readRequirements(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _isMet(requirement: Requirement) -> bool:
    version = installed_version(requirement.name)
    return bool(version) and requirement.specifier.contains(version, prereleases=True)


def _hasPyTorchExtension() -> bool:
    """Whether Slicer's PyTorch extension is installed; its module is a file among other modules, not a distribution."""
    try:
        return importlib.util.find_spec("PyTorchUtils") is not None
    except ValueError:  # it is loaded, but not by an import
        return True


def _ofTorch(missing: list[str]) -> bool:
    return any(text in TORCH_PAIR for text in missing)


def _damageOfTorch() -> str:
    """What to do about a partial installation of torch; "" if there is none.

    pip takes the remains for an installation, and PyTorchUtils stops with a TypeError, as they list no files.
    """
    try:
        distribution = importlib.metadata.distribution("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
    if distribution.files and installed_version("torch"):
        return ""
    return _(
        "PyTorch is damaged: close 3D Slicer, delete the folders whose names begin with torch in {folder}, start 3D "
        "Slicer and press Install."
    ).format(folder=distribution.locate_file(""))


def _warningOfLongPath() -> str:
    folder = sysconfig.get_paths()["purelib"]
    if os.name != "nt" or len(folder) <= LONGEST_PACKAGES_FOLDER:
        return ""
    return _(
        "The path {folder} is so long that Windows may reject PyTorch's files there. If this fails, install 3D Slicer "
        "in a folder with a short path, such as C:\\Slicer."
    ).format(folder=folder)


def _versions() -> dict[str, str]:
    """The versions of all installed distributions, by name."""
    return {each.name: each.version for each in importlib.metadata.distributions() if each.name}


def _offerRestart(before: dict[str, str]) -> None:
    """After the installation, offer a restart if the version of a package changed that Slicer has already loaded."""
    import slicer

    after = _versions()
    changed = [name for name, version in before.items() if after.get(name, version) != version]
    loaded = [name for name in changed if any(module in sys.modules for module in modules_of(name))]
    if not loaded:
        return
    text = _(
        "All packages are installed. 3D Slicer has an earlier version of {names} loaded, and may fail until it is "
        "restarted.\n\nRestart 3D Slicer now? Unsaved data will be lost."
    ).format(names=", ".join(loaded))
    if slicer.util.confirmYesNoDisplay(text, windowTitle=_("Restart 3D Slicer")):
        slicer.util.restart()


def _pipInstall(arguments: list[str]) -> None:
    import slicer

    try:
        packaging = importlib.import_module("slicer.packaging")
    except ImportError:  # before Slicer 5.12
        slicer.util.pip_install(arguments)
    else:
        packaging.pip_install(arguments, requester="FewShotSAM")


def _installTorch() -> None:
    """Install matching versions of torch and torchvision for this computer's GPU, through the PyTorch extension.

    The extension itself loads torch once at the end of the installation. Its keywords have changed between versions,
    so only those that it knows are passed. The user has already agreed.
    """
    logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    known = inspect.signature(logic.installTorch).parameters
    wanted = {
        "askConfirmation": False,
        "torchVersionRequirement": TORCH_PAIR[0].removeprefix("torch"),
        "torchvisionVersionRequirement": TORCH_PAIR[1].removeprefix("torchvision"),
    }
    logic.installTorch(**{name: value for name, value in wanted.items() if name in known})
