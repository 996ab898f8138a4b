"""The extension as CMake builds and installs it, against a stand-in for Slicer's build tree (stub_slicer)."""

import ast
import json
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STUB = Path(__file__).resolve().parent / "stub_slicer"
SCRIPTED_MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")
RAW = "https://raw.githubusercontent.com/FewShotSAM/SlicerFewShotSAM/main/"


@dataclass(frozen=True)
class Extension:
    """Folders of the built and of the installed extension, its description, and the names of its tests."""

    build: Path
    install: Path
    description: dict[str, str]
    tests: set[str]


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Extension:
    for tool in ("cmake", "ctest", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    build, install = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("install")
    run("cmake", "-S", ROOT, "-B", build, f"-DSlicer_DIR={STUB}", f"-DCMAKE_INSTALL_PREFIX={install}")
    run("cmake", "--build", build)
    run("cmake", "--install", build)
    lines = (build / "FewShotSAM.description").read_text(encoding="utf-8").splitlines()
    tests = re.findall(r"Test +#\d+: (\S+)", run("ctest", "--test-dir", build, "--show-only"))
    return Extension(build, install, dict(line.split(" ", 1) for line in lines), set(tests))


def files_below(folder: Path) -> set[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


def sources() -> set[str]:
    """Return what belongs into Slicer's folder of scripted modules: all except the bundled model's training."""
    module = files_below(ROOT / "FewShotSAM") - {"CMakeLists.txt"}
    package = {name for name in files_below(ROOT / "FewShotSAMLib") if name.endswith(".py")}
    return module | {f"FewShotSAMLib/{name}" for name in package if not name.startswith("bundled/train/")}


@pytest.mark.parametrize("place", ["build", "install"])
def test_every_file_is_where_slicer_looks(extension: Extension, place: str) -> None:
    folder = getattr(extension, place) / SCRIPTED_MODULES
    resources = {name for name in files_below(folder) if name.startswith("FewShotSAMLib/resources/")}
    assert files_below(folder) - resources == sources()
    for name in resources:
        original = ROOT / "Resources" / name.removeprefix("FewShotSAMLib/resources/")
        assert (folder / name).read_bytes() == original.read_bytes()


@pytest.mark.parametrize("place", ["build", "install"])
def test_python_finds_the_package_and_its_resources(extension: Extension, place: str, tmp_path: Path) -> None:
    folder = getattr(extension, place) / SCRIPTED_MODULES
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from FewShotSAMLib.core.resources import resource_path\n"
        "for name in ('Models/tiny.safetensors', 'encoders.json', 'requirements.txt',\n"
        "             'requirements-segment-anything.txt'):\n"
        "    print(resource_path(*name.split('/')))\n"
    )
    # -I: the checkout must not be found through PYTHONPATH.
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [Path(line) for line in done.stdout.splitlines()]
    assert len(found) == 4 and all(path.is_relative_to(folder) and path.is_file() for path in found)


def test_ctest_runs_the_module_and_every_self_test(extension: Extension) -> None:
    scripts = {f"py_{path.stem}" for path in (ROOT / "Testing" / "Slicer").glob("*Test.py")}
    assert scripts
    assert extension.tests == {"py_nomainwindow_qSlicerFewShotSAMModuleGenericTest", *scripts}


def test_self_tests_use_widgets_that_the_panel_has() -> None:
    form = (ROOT / "FewShotSAM" / "Resources" / "UI" / "FewShotSAM.ui").read_text(encoding="utf-8")
    widgets = set(re.findall(r'<widget class="\w+" name="(\w+)"', form))
    used: set[str] = set()
    for path in (ROOT / "Testing" / "Slicer").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")
        used |= set(re.findall(r"self\.ui\.(\w+)", text))
    assert used and used <= widgets


def test_description_agrees_with_the_index(extension: Extension) -> None:
    entry = json.loads((ROOT / "Resources" / "FewShotSAM.json").read_text(encoding="utf-8"))
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert set(entry) <= {
        "$schema", "category", "scm_url", "scm_revision", "build_dependencies", "build_subdirectory", "tier",
    }  # fmt: skip
    assert entry["category"] == "Segmentation" and entry["build_subdirectory"] == "."
    assert extension.description["HOMEPAGE"] == entry["scm_url"]
    assert extension.description["DEPENDS"].split() == entry["build_dependencies"]
    # The Extensions Manager shows one or two sentences.
    assert 40 < len(extension.description["DESCRIPTION"]) < 200
    assert f"/{entry['scm_revision']}/" in RAW


def test_addresses_of_pictures_are_files_of_the_repository(extension: Extension) -> None:
    addresses = [extension.description["ICONURL"], *extension.description["SCREENSHOTURLS"].split()]
    assert len(addresses) >= 2
    for address in addresses:
        assert address.startswith(RAW) and (ROOT / address.removeprefix(RAW)).is_file(), address


def test_icon_has_the_size_of_the_index() -> None:
    header = (ROOT / "FewShotSAM" / "Resources" / "Icons" / "FewShotSAM.png").read_bytes()[:26]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">IIBB", header[16:26]) == (128, 128, 8, 6)  # 8 bit, with transparency


def test_nothing_is_executed_when_the_module_is_imported() -> None:
    """The Extensions Index asks for it: at file scope there are imports, constants and definitions, but no calls."""
    text = (ROOT / "FewShotSAM" / "FewShotSAM.py").read_text(encoding="utf-8")
    docstring, *statements = ast.parse(text).body
    assert isinstance(docstring, ast.Expr)
    for statement in statements:
        assert isinstance(statement, ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef | ast.ClassDef)
        if isinstance(statement, ast.Assign):
            assert isinstance(statement.value, ast.Constant), ast.unparse(statement)


def test_pages_name_files_that_are_there() -> None:
    """Relative links of the pages on scripting and on the Index."""
    for page in ("scripting.md", "extensions-index.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert links and all((ROOT / "docs" / link).exists() for link in links), page


def test_slicer_gets_what_the_engine_needs() -> None:
    """Slicer's own packages, torch with torchvision and the file readers are the only differences between the two.

    Slicer reads NIfTI and DICOM itself and passes volumes on as NRRD; its own pydicom must not be replaced.
    """
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    light = re.search(r"^dependencies = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    heavy = re.search(r"^engine = \[(.*?)\]", project, re.MULTILINE)
    assert light and heavy
    needed = set(re.findall(r'"([^"]+)"', light[1] + heavy[1]))
    listed = [
        line.split()[0]
        for name in ("requirements.txt", "requirements-segment-anything.txt")
        for line in (ROOT / "Resources" / name).read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    brought = {text for text in needed if text.startswith(("numpy", "scipy", "SimpleITK", "torch"))}
    readers = {text for text in needed if text.startswith(("highdicom", "nibabel", "pydicom"))}
    assert len(readers) == 3 and sorted(listed) == sorted(needed - brought - readers)
