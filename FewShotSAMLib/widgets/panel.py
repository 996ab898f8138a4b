"""The panel as a whole: its sections, what drives them, and what happens when the module or the scene changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import slicer.util

from FewShotSAMLib.widgets.advanced_section import AdvancedSection
from FewShotSAMLib.widgets.driver import Driver
from FewShotSAMLib.widgets.editor_extras import EditorExtras
from FewShotSAMLib.widgets.export_section import ExportSection
from FewShotSAMLib.widgets.guard import Failures
from FewShotSAMLib.widgets.inputs_section import InputsSection
from FewShotSAMLib.widgets.interaction import Folding, Shortcuts
from FewShotSAMLib.widgets.lines import DependencyLine, FactsLine, RecoveryLine, TiltLine
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.models_section import ModelsSection
from FewShotSAMLib.widgets.observers import SceneObservers
from FewShotSAMLib.widgets.painted_list import PaintedList
from FewShotSAMLib.widgets.painted_section import PaintedSection
from FewShotSAMLib.widgets.propagate_section import PropagateSection
from FewShotSAMLib.widgets.review_section import ReviewSection
from FewShotSAMLib.widgets.segment_editor import SegmentEditor
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _

_LONGEST_WAIT_S = 0.01  # per tick, for working threads: Slicer's event loop never releases the GIL itself
_TICKS_PER_LOOK = 4  # how often to check whether another slice is shown: every 200 ms


class Panel:
    """Shows one session. `root` is the widget loaded from the .ui file."""

    def __init__(self, root: Any, makeServices: Callable[[Any], Services]) -> None:
        self._root = root
        ui = self._ui = slicer.util.childWidgetVariables(root)
        self._editor = SegmentEditor(ui.editorFrame.layout())
        self.services = makeServices(self._editor.widget)
        self._extras = EditorExtras(self._editor.widget)
        self._session = self.services.session
        self._messages = Messages(ui)
        self._failures = Failures(self._session, self._messages)
        self._observers = SceneObservers(
            self._onSceneClosing, self._onSceneImporting, self._onSceneReplaced, self._session.mark_modified
        )
        self._makeSections(ui)
        self._shortcuts = Shortcuts(
            {
                "Ctrl+Shift+P": self._propagate.propagateOrCancel,
                "Ctrl+Shift+N": self._review.goToNextSlice,
                "Ctrl+Shift+E": self._painted.declareEmpty,
            }
        )
        ui.againButton.connect("clicked()", self._propagate.propagateOrCancel)
        ui.advancedSection.connect("contentsCollapsed(bool)", self._onChanged)
        self._entered = self._attached = self._inspected = self._closed = False
        self._stale = self._isWidthSettled = False
        self._ticks = self._stripHeight = 0
        self._connectSession()
        self._driver = Driver(self.tick, self._failures.ofAction)
        self.update()

    def _makeSections(self, ui: Any) -> None:
        services, messages, guarded = self.services, self._messages, self._failures.guarded
        self._inputs = guarded(InputsSection)(ui, services, messages, self._editor, self._observers)
        self._painted = guarded(PaintedSection)(ui, services, messages, guarded(PaintedList), self._onPaint)
        self._propagate = guarded(PropagateSection)(ui, services, messages)
        self._review = guarded(ReviewSection)(ui, services)
        self._dependencies = guarded(DependencyLine)(ui, services, messages)
        self._tilt = guarded(TiltLine)(ui, services)
        self._facts = guarded(FactsLine)(ui, services)
        self._sections = (
            guarded(RecoveryLine)(ui, services, messages),
            self._tilt,
            self._inputs,
            self._facts,
            self._painted,
            self._propagate,
            self._review,
            guarded(ModelsSection)(ui, services, messages),
            guarded(ExportSection)(ui, services, messages),
            guarded(AdvancedSection)(ui, services, messages),
            self._dependencies,
            guarded(Folding)(ui, services),
        )

    def _connectSession(self) -> None:
        self._session.changed.connect(self._onChanged)
        self._session.progressed.connect(self._propagate.showProgress)
        self._session.said.connect(self._messages.show)
        self._session.logged.connect(self._messages.log)

    def enter(self) -> None:
        """Handle the opening of the module."""
        self._entered = True
        self._shortcuts.install(slicer.util.mainWindow() or self._root)
        self._editor.enter()
        if not self._attached:
            self._attach()
        elif not self._ui.volumeSelector.currentNodeID:
            self._inputs.restore()  # so that the user can paint at once
        self._dependencies.check()
        self.update()
        self._driver.start()

    def exit(self) -> None:
        """Handle the opening of another module; only a run goes on."""
        self._entered = False
        self._shortcuts.remove()
        self._editor.exit()
        if not self._session.is_busy:
            self._driver.stop()
        if self._session.preview is not None:
            self._messages.status(_("The preview stays on screen: to apply or discard it, open FewShotSAM again."))

    def close(self) -> None:
        """End the background process, as the module is unloaded or reloaded, or Slicer quits. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._driver.stop()
        self._shortcuts.remove()
        self._observers.stop()
        self._extras.close()
        self._editor.close()
        self._facts.close()
        self._session.changed.disconnect(self._onChanged)
        self._session.close()

    def update(self) -> None:
        """Show the session as it is."""
        self._stale = False
        for section in self._sections:
            section.update()
        self._lookAtComputer()

    def _onChanged(self) -> None:
        # Updated once at the end of the tick, however often the session signals a change within it.
        self._stale = True
        if self._session.is_busy and not self._closed:
            self._driver.start()  # also if a script starts a run while another module is open

    def tick(self) -> None:
        """Take the session's next small step, and show what has changed; called by the timer."""
        waited = self._session.wait(_LONGEST_WAIT_S)
        self._session.poll()
        if self._closed:
            return
        self._driver.hurry(waited)
        if self._stale:
            self.update()
        if not self._entered:
            if not self._session.is_busy:
                self._driver.stop()
            return
        self._settleWidth()
        self._settleStrip()
        self._ticks += 1
        if self._ticks % _TICKS_PER_LOOK == 0:
            self._painted.tick()
            self._review.tick()
            self._tilt.update()
            self._facts.tick()

    def _settleWidth(self) -> None:
        """Make the panel wide enough for the widest section, once: a change of its width makes the views jump.

        Happens in the first tick, when Qt has laid out the panel's contents.
        """
        if self._isWidthSettled:
            return
        self._isWidthSettled = True
        bar = self._ui.sectionsArea.verticalScrollBar().sizeHint.width()
        needed = self._ui.sectionsContents.minimumSizeHint.width() + bar
        self._root.setMinimumWidth(max(self._root.minimumWidth, needed))

    def _settleStrip(self) -> None:
        """Make the strip as high as its lines need: Qt does not always ask a word-wrapped label in two frames again."""
        strip = self._ui.runStrip
        needed = strip.heightForWidth(strip.width)
        if strip.height != needed and needed != self._stripHeight:  # once per height, in case there is no room for it
            self._root.layout().invalidate()
            self._root.layout().activate()
        self._stripHeight = needed if strip.height != needed else 0

    def _lookAtComputer(self) -> None:
        """Start the background process only when it is first needed, to estimate a run: it is large."""
        wanted = bool(self._session.painted) or not self._ui.advancedSection.collapsed
        if self._entered and wanted and not self._inspected and not self.services.missing:
            self._inspected = True
            if self._session.machine is None:
                self._messages.attempt(self._session.inspect)

    def _onPaint(self) -> None:
        self._ui.inputsSection.collapsed = False
        self._extras.paint()

    def _onSceneClosing(self) -> None:
        self._inputs.detach()
        self._session.forget_scene()

    def _onSceneImporting(self) -> None:
        self._inputs.hold()

    def _onSceneReplaced(self) -> None:
        """Attach to the new scene, but not while the user is in another module: the editor shows its volume at once."""
        self._attached = False
        if self._entered:
            self._attach()
            self.update()

    def _attach(self) -> None:
        self._attached = True
        self._inputs.attach()
