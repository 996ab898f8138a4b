"""The project keeps its own rules: what Slicer installs, the length of files and functions, what is pinned."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "FewShotSAMLib"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))
MODULE = ROOT / "FewShotSAM" / "FewShotSAM.py"
LONGEST_FILE = 400
LONGEST_SHELL = 250  # most lines of the module: everything else is in the package
LONGEST_FUNCTION = 60


def test_cmake_lists_every_file_of_the_package() -> None:
    text = (PACKAGE / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.findall(r"^  (\S+\.py)$", text, re.MULTILINE)
    names = sorted(path.relative_to(PACKAGE).as_posix() for path in SOURCES)
    assert listed == [name for name in names if not name.startswith("bundled/train/")]  # Slicer trains no encoder
    resources = re.findall(r"^  (\S+\.(?:json|safetensors|md))$", text, re.MULTILINE)
    assert resources and all((ROOT / "Resources" / name).is_file() for name in resources)


def test_wheel_and_slicer_carry_the_same_resources() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    cmake = (PACKAGE / "CMakeLists.txt").read_text(encoding="utf-8")
    for name in re.findall(r'"Resources/(\S+?)" = "FewShotSAMLib/resources/', project):
        assert f"  {name}\n" in cmake


def test_files_and_functions_stay_short() -> None:
    too_long = []
    for path in [MODULE, *SOURCES]:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > (LONGEST_SHELL if path == MODULE else LONGEST_FILE):
            too_long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION:
                too_long.append(f"{path}:{node.lineno} {node.name}")
    assert len(SOURCES) > 200 and too_long == []
