"""All tests of this folder with PyQt5, that is, Qt 5."""

from pathlib import Path

import pytest
from harness.bindings import PATIENCE_S, check_library_is_found, check_panel, need

TIMED = "test_large_volume.py"
"""As test_journey.py but for the size; it holds a time that a user was promised."""


@pytest.mark.timeout(PATIENCE_S)
def test_panel() -> None:
    need("PyQt5")
    check_panel("PyQt5", TIMED)


@pytest.mark.quiet
@pytest.mark.timeout(PATIENCE_S)
def test_the_panel_answers_in_time() -> None:
    need("PyQt5")
    check_panel("PyQt5", only=TIMED, tries=3)


def test_the_library_is_found_when_only_the_module_is_on_the_path(tmp_path: Path) -> None:
    need("PyQt5")
    check_library_is_found("PyQt5", tmp_path)
