"""A real MRML scene for each test, which fails if VTK or Slicer's C++ code warns."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

with suppress(ImportError):  # part of torch, with an LLVM as Mesa has: loading it after Mesa has drawn crashes
    import triton  # noqa: F401

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from harness.scene import watched_scene  # noqa: E402


@pytest.fixture
def scene() -> Iterator["slicer.vtkMRMLScene"]:
    """An empty scene; the test fails on any VTK error or warning."""
    with watched_scene() as made:
        yield made
