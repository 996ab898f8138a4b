"""Finds the data files that travel with the package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def resource_path(*name: str) -> Path:
    """Path of a file of `Resources/` (folders and file name), in a source checkout, a wheel or a Slicer extension.

    Raises FileNotFoundError if the installation lacks it.
    """
    candidates = [folder.joinpath(*name) for folder in (PACKAGE / "resources", PACKAGE.parent / "Resources")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{'/'.join(name)} is missing from this installation of FewShotSAM; looked at {candidates}")
