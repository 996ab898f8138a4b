"""Installed packages as the real wheels leave them: their folders are not named like the distributions.

Read from the wheels on PyPI (Linux, Python 3.11): torch 2.14.1, torchvision 0.29.1, scikit-learn 1.9.1, h5py 3.16.0,
segment-anything 1.0, safetensors 0.8.0, filelock 4.3.1, platformdirs 4.14.8, rich 15.0.0. Needs no Qt.
"""

import base64
import hashlib
import importlib
import shutil
import zipfile
from pathlib import Path

# Distribution: its folders; those with .libs contain no Python.
FOLDERS = {
    "torch": ("torch", "torchgen", "functorch"),
    "torchvision": ("torchvision", "torchvision.libs"),
    "filelock": ("filelock",),
    "h5py": ("h5py", "h5py.libs"),
    "platformdirs": ("platformdirs",),
    "rich": ("rich",),
    "safetensors": ("safetensors",),
    "scikit-learn": ("sklearn", "scikit_learn.libs"),
    "segment-anything": ("segment_anything",),
}


def files(name: str, version: str) -> dict[str, str]:
    """Return all files of a distribution with their content; its packages must not be imported."""
    paths = (f"{each}/libgomp.so" if each.endswith(".libs") else f"{each}/__init__.py" for each in FOLDERS[name])
    found = dict.fromkeys(paths, "raise AssertionError('imported')\n")
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    found[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    found[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    found[f"{info}/RECORD"] = "".join([*map(_recorded, found.items()), f"{info}/RECORD,,\n"])
    return found


def _recorded(entry: tuple[str, str]) -> str:
    path, text = entry
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text.encode())}\n"


def install(site: Path, name: str, version: str) -> None:
    """Put a distribution into a folder of packages, replacing any other version, as pip does."""
    for old in site.glob(f"{name.replace('-', '_')}-*.dist-info"):
        shutil.rmtree(old)
    for path, text in files(name, version).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")
    importlib.invalidate_caches()


def makeWheel(folder: Path, name: str, version: str) -> None:
    """Write a real wheel, which pip can install."""
    made = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in files(name, version).items():
            archive.writestr(path, text)
