"""Section 5: write the segmentation to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from FewShotSAMLib.widgets.dialogs import completePath
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _

_SUFFIXES = (".seg.nrrd", ".nrrd", ".nii.gz")  # in the order of the entries in the .ui file


class ExportSection:
    """The file type and the button."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        ui.exportButton.connect("clicked()", self._onExport)

    def update(self) -> None:
        """Enable the button if there is something to export."""
        ready = self._services.session.target is not None
        self._ui.exportButton.setEnabled(ready)
        what = _("Write all segments, hidden ones too, on the volume's full geometry.")
        self._ui.exportButton.setToolTip(what if ready else _("Choose a volume and a segmentation first."))

    def _onExport(self) -> None:
        target = self._services.session.target
        if target is None:
            return
        suffix = _SUFFIXES[self._ui.exportFormat.currentIndex]
        name = slicer.mrmlScene.GetNodeByID(target.segmentation).GetName() + suffix
        filters = f"{self._ui.exportFormat.currentText} (*{suffix})"
        path = self._services.dialogs.saveFile(_("Export segmentation"), name, filters)
        complete = completePath(self._services.dialogs, path, suffix)
        if complete:
            with self._messages.busy(_("Writing {0}…").format(Path(complete).name)):
                self._messages.attempt(self._services.session.export, Path(complete))
