"""Everything around the panel that tests replace."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer

from FewShotSAMLib.widgets.dependencies import Dependencies
from FewShotSAMLib.widgets.dialogs import Dialogs
from FewShotSAMLib.widgets.parameters import SceneParameters
from FewShotSAMLib.widgets.views import SliceViews
from FewShotSAMLib.widgets.workflow_texts import translated
from FewShotSAMLib.workflow import Scene, Session, Settings

_KEY = "FewShotSAM/Settings"


class SettingsStore:
    """Reads and writes `Settings` in Slicer's settings file, not in the scene: they belong to the computer.

    dropped: names of the settings that `load` could not use.
    """

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def load(self) -> Settings:
        """The settings saved last; the defaults at first, and if the entry is damaged."""
        try:
            values = json.loads(str(qt.QSettings().value(_KEY) or "{}"))
        except (ValueError, RecursionError):
            values = {}
        settings, self.dropped = Settings.from_json(values if isinstance(values, dict) else {})
        return settings

    def save(self, settings: Settings) -> None:
        """Save them for the next start."""
        qt.QSettings().setValue(_KEY, json.dumps(settings.to_json()))


@dataclass
class Services:
    """A panel's session and its interfaces to the application. missing: result of the last check of dependencies."""

    session: Session
    scene: Scene
    views: SliceViews
    parameters: SceneParameters
    store: SettingsStore
    dialogs: Dialogs
    dependencies: Dependencies
    missing: str = ""

    def whyNot(self) -> str:
        """Why nothing can be propagated now, and what to do; "" if it can."""
        return self.missing or translated(self.session.why_not())


def makeServices(segmentEditor: Any) -> Services:
    """The services used in Slicer. segmentEditor: the panel's qMRMLSegmentEditorWidget, whose Undo undoes results.

    Raises FewShotSAMError if Slicer's Python is not found, or its folder for temporary files cannot be written.
    """
    from FewShotSAMLib.mrml import MRMLScene
    from FewShotSAMLib.widgets.python import createWorkerClient

    store, scene = SettingsStore(), MRMLScene(segmentEditor=segmentEditor)
    temporary = Path(slicer.app.temporaryPath)  # where work left by a crash is found again
    session = Session(scene, createWorkerClient(), store.load(), modelFolder(), temporary, "panel")
    return Services(session, scene, SliceViews(), SceneParameters(), store, Dialogs(), Dependencies())


def modelFolder() -> Path:
    """The folder of the user's few-shot models: next to Slicer's settings, so that updates of the extension, which
    replace its own folder, do not delete them."""
    return Path(slicer.app.slicerUserSettingsFilePath).parent / "FewShotSAM" / "Models"
