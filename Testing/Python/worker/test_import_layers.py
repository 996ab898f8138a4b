"""Which package may import which: imports point downward only, and Slicer's own process loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from FewShotSAMLib.worker.process import PACKAGE_PARENT, worker_environment

PACKAGE = PACKAGE_PARENT / "FewShotSAMLib"
HEAVY = {"torch", "torchvision", "h5py", "segment_anything", "safetensors", "monai", "sklearn"}
READERS = {"highdicom", "nibabel", "pydicom"}
"""Imported by core/packages.py where a file needs them: Slicer's Python need not have them."""
# What a folder (or, for the worker, a file) may import, in addition to itself.
MAY_IMPORT = {
    "core": set(),
    "option_kinds": set(),
    "options": {"option_kinds", "methods/registry", "core"},
    "sam": {"core"},
    "methods/interface": {"sam", "core"},  # what the bundled model's own method has to implement
    "bundled/components": set(),
    "bundled": {"bundled/components", "methods/interface", "sam", "core"},
    "bundled/train": {"bundled", "sam", "core"},
    "methods": {"methods/interface", "bundled", "sam", "core"},
    "methods/registry": {"methods/interface", "core"},
    "engine": {"options", "methods", "methods/interface", "methods/registry", "sam", "core"},
    "worker": {"options", "core"},
    "worker/server": {"worker", "engine", "core"},
    "worker/__main__": {"worker/server"},
    "cohort": {"options", "option_kinds", "worker", "core"},
    "workflow": {"options", "cohort", "worker", "methods/registry", "core"},
    "mrml": {"workflow", "core"},
    "widgets": {"options", "mrml", "workflow", "worker", "methods/registry", "core"},
    "web": {"options", "mrml", "workflow", "worker", "methods/registry", "core"},
    "benchmark": {
        *("options", "benchmark/baselines", "worker", "engine", "methods", "methods/registry", "sam", "core"),
        "bundled/components",  # which part of the answer a row omits
    },
    "benchmark/baselines": {"benchmark", "engine", "methods", "methods/interface", "sam", "core"},
    "cli": {
        *("options", "option_kinds", "methods/registry", "core", "worker", "cohort", "sam", "cli", "demo"),
        *("benchmark", "web"),
    },
    "demo": {"core"},
    "api": {"worker", "engine", "core"},
    "start": {"cli"},
    "__main__": {"start"},
}
MAY_IMPORT_HEAVY = {
    *("sam", "bundled", "bundled/train", "methods", "methods/interface", "engine", "benchmark/baselines")
}
INTERFACE = {f"methods.{name}" for name in ("interface", "head", "loss", "optimiser", "repeatable", "tokens")}


def layer(module: str) -> str:
    """Return the layer of a dotted module name below FewShotSAMLib."""
    first, _, rest = module.partition(".")
    if first == "worker" and rest in ("server", "__main__"):
        return f"worker/{rest}"
    if module in INTERFACE:
        return "methods/interface"
    for inner in ("methods.registry", "bundled.train", "bundled.components", "benchmark.baselines"):
        if f"{module}.".startswith(f"{inner}."):
            return inner.replace(".", "/")
    return first


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield (dotted module, line) of every import, including those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            module = node.module or ""
            folders = [module] if (PACKAGE_PARENT / module.replace(".", "/")).is_dir() else []
            inner = [f"{module}.{alias.name}" for alias in node.names] if folders else []
            yield from ((name, node.lineno) for name in inner or [module])


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def offences(path: Path) -> Iterator[str]:
    """Return what a file imports but its layer may not."""
    own = layer(".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"))
    if own not in MAY_IMPORT:
        yield f"{path}: give {own} its place among the layers"
        return
    for module, line in imports(ast.parse(path.read_text(encoding="utf-8"))):
        top, _, rest = module.partition(".")
        inside = top == "FewShotSAMLib" and rest and rest.partition(".")[0] != "__version__"
        upward = inside and layer(rest) != own and layer(rest) not in MAY_IMPORT[own]
        if upward or (top in HEAVY and own not in MAY_IMPORT_HEAVY):
            yield f"{path}:{line} imports {module}"


def test_imports_point_downward() -> None:
    assert len(SOURCES) > 200
    assert [offence for path in SOURCES for offence in offences(path)] == []


A_RUN = """
import FewShotSAMLib
from FewShotSAMLib.core import painting, phantom
volume, truth = phantom.ct_phantom((6, 40, 48), seed=3)
painted = painting.keep_slices(truth, 0, (2, 4), ("liver",))
FewShotSAMLib.propagate(volume, painted, steps=1, no_cache=True, device="cpu")
"""


@pytest.mark.parametrize(
    ("modules", "absent", "work"),
    [
        # Slicer's Python lacks the last three, too, and the background process must report it.
        (
            ("core", "worker", "worker.client", "worker.protocol", "worker.server"),
            HEAVY | {"platformdirs", "rich", "filelock"},
            "",
        ),
        (("api", "core.volume", "core.segmentation"), HEAVY | READERS, ""),
        (("cli.propagate", "cli.models", "cli.cache", "cli.doctor", "cli.benchmark"), HEAVY, ""),
        # `fewshotsam --help` and the background process must start at once.
        (("start", "cli", "worker.server"), {"numpy", "scipy", "SimpleITK", "rich"}, ""),
        # These would take longer than all other imports before the first answer.
        (("engine.jobs", "bundled.fusion"), {"torchvision", "torch._dynamo", "sympy"}, A_RUN),
    ],
)
def test_no_heavy_package_is_loaded(modules: tuple[str, ...], absent: set[str], work: str) -> None:
    names = [f"FewShotSAMLib.{module}" for module in modules]
    code = f"import sys, {', '.join(names)}\n{work}\nprint(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=worker_environment(), capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(names) <= set(loaded)
    assert not absent & set(loaded)
