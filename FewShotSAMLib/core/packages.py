"""Python packages by the two names they have: what pip installs (a distribution) and what `import` finds (a module)."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from pathlib import Path
from types import ModuleType

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint

DISTRIBUTIONS = {"sklearn": "scikit-learn", "segment_anything": "segment-anything"}
"""Module -> distribution, if the two have different names."""
_READS = {"nibabel": "NIfTI and FreeSurfer files", "pydicom": "DICOM files", "highdicom": "DICOM segmentations"}
"""What the packages are for that are imported only when needed; 3D Slicer, which hands over NRRD, needs none."""
_MODULE_LINE = re.compile(r"^([^/,\n]+)/__init__\.py,", re.MULTILINE)


def distribution_of(module: str) -> str:
    """What pip calls the package that a top-level module belongs to."""
    return DISTRIBUTIONS.get(module, module)


def installed_version(distribution: str) -> str:
    """The version of a distribution, "" if it is not installed or a part of it is missing; nothing is imported.

    Its list of files says which modules it has: their names cannot be guessed from the distribution's.
    """
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
    # A damaged installation may have metadata without a version.
    version = found.metadata["Version"] if "Version" in found.metadata else ""  # noqa: SIM401 - it has no `get` for mypy
    files = [Path(str(found.locate_file(name)), "__init__.py") for name in _modules(found)]
    return version if version and all(file.is_file() for file in files) else ""


def modules_of(distribution: str) -> list[str]:
    """The top-level packages that a distribution installed; empty if it is not installed, or keeps no list."""
    try:
        return _modules(importlib.metadata.distribution(distribution))
    except importlib.metadata.PackageNotFoundError:
        return []


def import_package(name: str) -> ModuleType:
    """The module `name` of a package that reads or writes what SimpleITK does not. Raises BadInputError that says how
    to install it if it is missing."""
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise BadInputError(
            f"{_READS[package]} need the package {package}, which is not installed.",
            hint("install-reader", package=package),
        ) from error


def _modules(found: importlib.metadata.Distribution) -> list[str]:
    return _MODULE_LINE.findall(found.read_text("RECORD") or "")
