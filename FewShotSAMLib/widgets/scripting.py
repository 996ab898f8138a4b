"""Scripting inside 3D Slicer: its Python, its event loop, and every Segment Editor that is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import slicer.util
from packaging.requirements import Requirement

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.scripting import Application, Scripting
from FewShotSAMLib.widgets.dependencies import Dependencies
from FewShotSAMLib.widgets.driver import Driver
from FewShotSAMLib.widgets.python import createWorkerClient
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import Session


def makeScripting() -> Scripting:
    """Scripting in the application's scene, with no process started yet."""
    return Scripting(Application(_makeSession, lambda: slicer.app.processEvents(), Driver, _findEditors))


def _makeSession(scene: MRMLScene) -> Session:
    """A session with no process started yet. Raises FewShotSAMError if packages or Slicer's Python are missing."""
    missing = ", ".join(Requirement(text).name for text in Dependencies().missing())
    if missing:
        raise FewShotSAMError(
            _("Python packages are missing: {names}.").format(names=missing),
            _("Open the module FewShotSAM and press Install."),
        )
    return Session(scene, createWorkerClient(), temporary=Path(slicer.app.temporaryPath))


def _findEditors() -> list[Any]:
    """The Segment Editor widgets of all modules, visible ones first; none without a main window."""
    found = slicer.util.findChildren(className="qMRMLSegmentEditorWidget")
    return sorted(found, key=lambda widget: not widget.visible)
