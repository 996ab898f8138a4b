"""All tests of this folder with PySide6, that is Qt 6."""

from pathlib import Path

import pytest
from harness.bindings import PATIENCE_S, check_library_is_found, check_panel, need


@pytest.mark.timeout(PATIENCE_S)
def test_panel() -> None:
    need("PySide6")
    check_panel("PySide6")


def test_the_library_is_found_when_only_the_module_is_on_the_path(tmp_path: Path) -> None:
    need("PySide6")
    check_library_is_found("PySide6", tmp_path)
