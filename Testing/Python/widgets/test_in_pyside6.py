"""This folder's tests with PySide6, that is, Qt 6: those of what Qt shows and does, and one whole workflow."""

from pathlib import Path

import pytest
from harness.bindings import PATIENCE_S, check_library_is_found, check_panel, need

OF_SCENE_AND_PROCESS = (
    *("test_geometry.py", "test_interruptions.py", "test_logic.py", "test_real_services.py", "test_real_volume.py"),
    *("test_table.py", "test_whole_panel.py", "test_large_volume.py"),
)
"""About nodes and the background process behind the same widgets; run with PyQt5."""


@pytest.mark.timeout(PATIENCE_S)
def test_panel() -> None:
    need("PySide6")
    check_panel("PySide6", *OF_SCENE_AND_PROCESS)


def test_the_library_is_found_when_only_the_module_is_on_the_path(tmp_path: Path) -> None:
    need("PySide6")
    check_library_is_found("PySide6", tmp_path)
