"""Signatures of Slicer's and PyTorchUtils' real functions, which stand-ins must have. Needs no Qt.

`facts/functions.json` has, for each function, its signature as of a Slicer version, or of a commit of SlicerPyTorch;
null from the version that removed it. Classes of ScriptedLoadableModule and PyTorchUtils are listed method by method.
"""

import ast
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FACTS = json.loads((Path(__file__).parent / "facts" / "functions.json").read_text(encoding="utf-8"))
_ORDER = {"PyTorchUtils": ("9921fcb4ca", "f677db994c")}
_SLICERS = ("5.10", "5.12", "main")


def functions(module: str, version: str) -> dict[str, str]:
    """Return all that a module has in a version: name and signature, or "property"."""
    order = _ORDER.get(module, _SLICERS)
    past = order[: order.index(version) + 1]
    found = {}
    for name, steps in _FACTS["modules"][module]["signatures"].items():
        latest = next((steps[each] for each in reversed(past) if each in steps), None)
        if latest:
            found[name] = latest
    return found


def real(module: str, name: str, version: str) -> inspect.Signature:
    """Return the signature, with the text of each default in place of its value."""
    listed = functions(module, version)
    assert name in listed, f"{module}.{name} does not exist in {version}"
    definition = ast.parse(f"def f{listed[name]}: pass").body[0]
    assert isinstance(definition, ast.FunctionDef)
    for defaults in (definition.args.defaults, definition.args.kw_defaults):
        defaults[:] = [ast.Constant(ast.unparse(each)) if each else None for each in defaults]  # type: ignore[list-item]
    namespace: dict[str, Any] = {}
    exec(ast.unparse(definition), namespace)
    return inspect.signature(namespace["f"])


def check(double: Callable[..., Any], module: str, name: str, version: str) -> None:
    """Raise AssertionError if a stand-in's parameters differ from the real ones in order, kind or being optional."""
    expected, found = (_shape(each) for each in (real(module, name, version), inspect.signature(double)))
    assert found == expected, f"{module}.{name} of {version} has {expected}, its stand-in {found}"


def _shape(signature: inspect.Signature) -> list[tuple[str, str, bool]]:
    every = signature.parameters.values()
    return [(each.name, each.kind.description, each.default is not each.empty) for each in every]
