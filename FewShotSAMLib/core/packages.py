"""Imports, when they are needed, the packages that read and write what SimpleITK does not."""

import importlib
from types import ModuleType

from FewShotSAMLib.core.errors import BadInputError

_FOR = {"nibabel": "NIfTI and FreeSurfer files", "pydicom": "DICOM files", "highdicom": "DICOM segmentations"}


def import_package(name: str) -> ModuleType:
    """The module `name`; raises BadInputError with the way to install its package where it is missing."""
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise BadInputError(
            f"{_FOR[package]} need the package {package}, which is not installed.", f"Run: pip install {package}"
        ) from error
