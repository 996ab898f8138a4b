"""Lines of the panel that are shown only while they have something to say."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
import slicer.util

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.facts import facts_rows, facts_sentence
from FewShotSAMLib.core.segment import hex_color
from FewShotSAMLib.mrml.harden import hardenTransforms
from FewShotSAMLib.mrml.places import worldMatrix
from FewShotSAMLib.widgets.display import escaped
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.widgets.workflow_texts import factWords
from FewShotSAMLib.workflow.autosave import Leftover
from FewShotSAMLib.workflow.facts import InputFacts
from FewShotSAMLib.workflow.painted_slices import not_painted_on
from FewShotSAMLib.workflow.scene import Target

_INFORMATION = "\N{INFORMATION SOURCE}"  # DejaVu has it; few Linux fonts have the circled letter
_WARNING = "\N{WARNING SIGN}"


class FactsLine:
    """Shows what `fewshotsam inspect` says about a file; nothing while no volume is chosen, or not inspected yet."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._label = ui.factsLabel
        self._services = services
        self._facts = InputFacts(services.scene)
        self._shown = ""

    def update(self) -> None:
        """Show what is known now."""
        session = self._services.session
        facts = self._facts.look(session.target, session.found)
        if facts is None:
            self._show("", "")
            return
        _label, sentence = factWords(facts_sentence(facts))
        rows = "".join(
            f"<tr><td>{escaped(label)}:&nbsp;</td><td>{escaped(text)}</td></tr>"
            for label, text in map(factWords, facts_rows(facts))
        )
        mark = _WARNING if facts["warnings"] else _INFORMATION
        self._show(f"{mark} {sentence}", f"<b>{escaped(facts['name'])}</b><table>{rows}</table>")

    def tick(self) -> None:
        """Poll for the facts, which arrive some time after the volume was chosen, without a signal."""
        if self._facts.poll():
            self.update()

    def close(self) -> None:
        """End the thread that inspects volumes."""
        self._facts.close()

    def _show(self, text: str, toolTip: str) -> None:
        if text + toolTip != self._shown:
            self._shown = text + toolTip
            self._label.setText(text)
            self._label.setToolTip(toolTip)


_BENT, _TILTED = "bent", "tilted"


class TiltLine:
    """Warns of a volume whose slices cannot be painted in the views as they are, with a button to rotate the views, or
    to harden a transform that bends the slices."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui, self._services = ui, services
        self._shown = _TILTED
        self._texts = {
            _TILTED: (ui.tiltLabel.text, ui.rotateViewsButton.text, ui.rotateViewsButton.toolTip),
            _BENT: (
                _(
                    "The volume or the segmentation is under a nonlinear transform, such as Slicer adds to series with "
                    "gantry tilt or irregular slice spacing. Harden it before you paint."
                ),
                _("Harden transform"),
                _("Resample the volume in the scene as it is shown. Its file is not changed."),
            ),
        }
        ui.rotateViewsButton.connect("clicked()", self._onPressed)

    def update(self) -> None:
        """Show the warning that fits volume and views now; cheap enough to call at every look."""
        wanted = self._wanted()
        if wanted and wanted != self._shown:
            self._shown = wanted
            text, button, toolTip = self._texts[wanted]
            self._ui.tiltLabel.setText(text)
            self._ui.rotateViewsButton.setText(button)
            self._ui.rotateViewsButton.setToolTip(toolTip)
        if self._ui.tiltFrame.visible != bool(wanted):
            self._ui.tiltFrame.setVisible(bool(wanted))
        self._ui.rotateViewsButton.setEnabled(wanted != _BENT or not self._services.session.is_busy)

    def _wanted(self) -> str:
        nodes = [node for node in self._nodes() if node is not None]
        if self._ui.volumeSelector.currentNodeID and any(worldMatrix(node) is None for node in nodes):
            return _BENT
        target = self._services.session.target
        return _TILTED if target is not None and self._services.views.areTilted(target.volume) else ""

    def _nodes(self) -> list[Any]:
        """The chosen volume and segmentation, None for what is not chosen."""
        ids = [self._ui.volumeSelector.currentNodeID, self._ui.segmentationSelector.currentNodeID]
        return [slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None for nodeId in ids]

    def _onPressed(self) -> None:
        target = self._services.session.target
        volume, segmentation = self._nodes()
        if self._shown == _BENT and volume is not None:
            with slicer.util.WaitCursor():
                hardenTransforms(volume, segmentation)
        elif target is not None:
            self._services.views.rotateTo(target.volume)
        self.update()


_MOST = 8
"""The most segments to offer; if more are missing on a slice, users seldom declare them one by one."""
_NO, _YES = "\u2610", "\u2611"


class AbsentLine:
    """A link for each segment that is painted somewhere, but not on the slice that is shown; a click declares that the
    slice contains none of it, or undoes that."""

    def __init__(self, label: Any, services: Services, messages: Messages) -> None:
        self._label, self._services, self._messages = label, services, messages
        self._index: int | None = None
        tip = _("Where a segment is not painted, it may be predicted. Tick the segments that are not on this slice.")
        label.setToolTip(tip)
        label.connect("linkActivated(QString)", self._onLink)

    def update(self, index: int | None) -> None:
        """Show what can be declared about slice `index`."""
        self._index = index
        links = [] if index is None or self._services.session.is_busy else self._links(index)
        self._label.setVisible(bool(links))
        text = _("Slice {0} holds none of:").format(index) + " " + " &nbsp;".join(links)
        if links and self._label.text != text:
            self._label.setText(text)

    def _links(self, index: int) -> list[str]:
        session = self._services.session
        absent = not_painted_on(session.painted, index)
        if not absent or session.target is None:
            return []
        try:
            segments = self._services.scene.segments(session.target)
        except FewShotSAMError:
            return []  # they no longer exist; the session itself reports that
        return [
            f'<a href="{escaped(each.id)}" style="text-decoration:none">{_YES if absent[each.id] else _NO} '
            f'<font color="{hex_color(each.color)}">■</font> {escaped(each.name)}</a>'
            for each in [each for each in segments if each.id in absent][:_MOST]
        ]

    def _onLink(self, segmentId: str) -> None:
        if self._index is not None and not self._services.session.is_busy:
            isAbsent = not_painted_on(self._services.session.painted, self._index).get(segmentId, False)
            self._messages.attempt(self._services.session.set_empty, self._index, not isAbsent, segmentId)


class RecoveryLine:
    """Offers what was painted before Slicer ended unexpectedly: to restore it on the chosen volume, or to delete it."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        ui.restoreWorkButton.connect("clicked()", self._onRestore)
        ui.deleteWorkButton.connect("clicked()", self._onDelete)

    def update(self) -> None:
        """Show the latest unsaved work."""
        left = self._first()
        self._ui.recoveryFrame.setVisible(left is not None)
        if left is None:
            return
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(left.saved))
        text = _("Segments painted on “{0}” ({1}) were not saved. Choose that volume and restore them, or delete them.")
        self._ui.recoveryLabel.setText(text.format(left.volume, when))
        for button in (self._ui.restoreWorkButton, self._ui.deleteWorkButton):
            button.setEnabled(not self._services.session.is_busy)

    def _first(self) -> Leftover | None:
        return next(iter(self._services.session.kept.left), None)

    def _onRestore(self) -> None:
        left = self._first()
        if left is not None:
            self._messages.attempt(self._restore, left)
            self.update()

    def _restore(self, left: Leftover) -> None:
        volumeId = self._ui.volumeSelector.currentNodeID
        if not volumeId:
            raise BadInputError(_("No volume is chosen."), _("Load the volume and choose it."))
        target = Target(volumeId, self._ui.segmentationSelector.currentNodeID)
        restored = self._services.session.kept.put_back(left, target)
        self._ui.segmentationSelector.setCurrentNodeID(restored)
        self._services.session.mark_modified()

    def _onDelete(self) -> None:
        left = self._first()
        if left is not None:
            self._services.session.kept.drop(left)
            self.update()


class DependencyLine:
    """Says what must still be installed, with buttons to install it with the user's consent."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._isInstalling = False
        ui.installButton.connect("clicked()", self._onInstall)
        ui.installFolderButton.connect("clicked()", self._onInstallFromFolder)

    def check(self) -> None:
        """Check again, except during an installation, when nothing is certain."""
        if self._isInstalling:
            return
        self._services.missing = self._services.dependencies.status()
        self.update()

    def update(self) -> None:
        """Show what the last check found."""
        self._ui.dependencyFrame.setVisible(bool(self._services.missing))
        self._ui.dependencyLabel.setText(self._services.missing)

    def _onInstall(self) -> None:
        self._run(self._services.dependencies.install)

    def _onInstallFromFolder(self) -> None:
        folder = self._services.dialogs.openFolder(_("Folder with wheels"))
        if folder:
            self._run(self._services.dependencies.installFromFolder, folder)

    def _run(self, install: Callable[..., bool], *values: str) -> None:
        """Run an installation, only one at a time: while pip runs, Slicer still reacts to the user's clicks."""
        if self._isInstalling:
            return
        self._isInstalling = True
        self._ui.dependencyFrame.setEnabled(False)
        try:
            self._messages.attempt(install, *values)
        finally:
            self._isInstalling = False
            self._ui.dependencyFrame.setEnabled(True)
        self.check()
        self._services.session.changed.emit()
