"""Finds the data files that travel with the package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def resource_path(name: str) -> Path:
    """Path of a file of `Resources/`, in a source checkout, an installed wheel or an installed Slicer extension.

    Raises FileNotFoundError where the installation lacks it.
    """
    candidates = [PACKAGE / "resources" / name, PACKAGE.parent / "Resources" / name]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{name} is missing from this installation of FewShotSAM; looked at {candidates}")
