"""Questions to the user. Tests replace this class; nothing else in the panel opens a window."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer.util

from FewShotSAMLib.widgets.translation import _


def completePath(dialogs: Dialogs, path: str, suffix: str) -> str:
    """A path from `saveFile` with its suffix; "" if that file exists and the user wants to keep it.

    The dialog asked only about the name as it was typed, which is another file.
    """
    if not path or path.lower().endswith(suffix):
        return path
    complete = Path(path + suffix)
    question = _("“{0}” already exists. Replace it?").format(complete.name)
    if complete.exists() and not dialogs.confirm(question, _("Replace file")):
        return ""
    return str(complete)


class Dialogs:
    """Modal dialogs over Slicer's main window."""

    def askName(self, title: str, label: str, text: str) -> str:
        """A name, "" if the user cancelled."""
        answer = qt.QInputDialog.getText(slicer.util.mainWindow(), title, label, qt.QLineEdit.Normal, text)
        return str(answer or "").strip()

    def confirm(self, text: str, title: str) -> bool:
        """Whether the user agrees."""
        return bool(slicer.util.confirmOkCancelDisplay(text, windowTitle=title))

    def openFile(self, title: str, filters: str) -> str:
        """The path of an existing file, "" if the user cancelled. filters: "Few-shot models (*.fewshot)"."""
        return str(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", filters) or "")

    def openFolder(self, title: str) -> str:
        """The path of an existing folder, "" if the user cancelled."""
        return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title) or "")

    def saveFile(self, title: str, name: str, filters: str) -> str:
        """The path of a file to write, "" if the user cancelled. The dialog asks before overwriting the
        name as typed; `completePath` asks if a suffix is added to it."""
        return str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, filters) or "")

    def showPage(self, path: Path) -> None:
        """Show a page in the user's browser."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
