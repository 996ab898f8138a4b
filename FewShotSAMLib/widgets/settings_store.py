"""The user's settings, kept by the application and not in the scene: they belong to the computer."""

from __future__ import annotations

import json

import qt

from FewShotSAMLib.workflow import Settings

_KEY = "FewShotSAM/Settings"


class SettingsStore:
    """Reads and writes `Settings` in Slicer's settings file. dropped: names of what `load` could not use."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def load(self) -> Settings:
        """What was saved last; the defaults at first, and where the entry is damaged."""
        try:
            values = json.loads(str(qt.QSettings().value(_KEY) or "{}"))
        except (ValueError, RecursionError):
            values = {}
        settings, self.dropped = Settings.from_json(values if isinstance(values, dict) else {})
        return settings

    def save(self, settings: Settings) -> None:
        """Keep them for the next start."""
        qt.QSettings().setValue(_KEY, json.dumps(settings.to_json()))
