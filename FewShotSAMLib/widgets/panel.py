"""The panel as a whole: its sections, what drives them, and what happens when module or scene come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer.util

from FewShotSAMLib.widgets.advanced_section import AdvancedSection
from FewShotSAMLib.widgets.dependency_line import DependencyLine
from FewShotSAMLib.widgets.driver import Driver
from FewShotSAMLib.widgets.export_section import ExportSection
from FewShotSAMLib.widgets.folding import Folding
from FewShotSAMLib.widgets.inputs_section import InputsSection
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.models_section import ModelsSection
from FewShotSAMLib.widgets.observers import SceneObservers
from FewShotSAMLib.widgets.painted_section import PaintedSection
from FewShotSAMLib.widgets.propagate_section import PropagateSection
from FewShotSAMLib.widgets.review_section import ReviewSection
from FewShotSAMLib.widgets.segment_editor import SegmentEditor
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.shortcuts import Shortcuts
from FewShotSAMLib.widgets.tilt_line import TiltLine
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import Message

_LONGEST_WAIT_S = 0.01  # of a tick, for threads that work: Slicer's event loop never lets go of Python's lock itself
_TICKS_PER_LOOK = 4  # how often it is looked whether another slice is shown: every 200 ms


class Panel:
    """Shows one session. `root` is the widget of the .ui file."""

    def __init__(self, root: Any, makeServices: Callable[[Any], Services]) -> None:
        self._root = root
        ui = slicer.util.childWidgetVariables(root)
        self._editor = SegmentEditor(ui.editorFrame.layout())
        self.services = makeServices(self._editor.widget)
        self._session = self.services.session
        self._messages = Messages(ui)
        self._observers = SceneObservers(self._onSceneClosing, self._onSceneReplaced, self._session.mark_modified)
        self._inputs = InputsSection(ui, self.services, self._messages, self._editor, self._observers)
        self._painted = PaintedSection(ui, self.services, self._messages)
        self._propagate = PropagateSection(ui, self.services, self._messages)
        self._review = ReviewSection(ui, self.services)
        self._dependencies = DependencyLine(ui, self.services, self._messages)
        self._folding = Folding(ui, self.services)
        self._tilt = TiltLine(ui, self.services)
        self._sections = (
            self._tilt,
            self._inputs,
            self._painted,
            self._propagate,
            self._review,
            ModelsSection(ui, self.services, self._messages),
            ExportSection(ui, self.services, self._messages),
            AdvancedSection(ui, self.services, self._messages),
            self._dependencies,
            self._folding,
        )
        self._shortcuts = Shortcuts(
            {
                "Ctrl+Shift+P": self._propagate.propagateOrCancel,
                "Ctrl+Shift+N": self._review.goToNextSlice,
                "Ctrl+Shift+E": self._painted.declareEmpty,
            }
        )
        ui.againButton.connect("clicked()", self._propagate.propagateOrCancel)
        self._ticks = 0
        self._stale = False
        self._closed = False
        self._connectSession()
        self._driver = Driver(self.tick, self._onFailed)
        self._driver.start()
        self._onSceneReplaced()

    def _connectSession(self) -> None:
        self._session.changed.connect(self._onChanged)
        self._session.progressed.connect(self._propagate.showProgress)
        self._session.said.connect(self._messages.show)
        self._session.logged.connect(self._messages.log)

    def enter(self) -> None:
        """The module is opened."""
        self._shortcuts.install(slicer.util.mainWindow() or self._root)
        self._editor.enter()
        self._dependencies.check()
        self.update()

    def exit(self) -> None:
        """Another module is opened; a run goes on."""
        self._shortcuts.remove()
        self._editor.exit()

    def close(self) -> None:
        """The module is unloaded or reloaded, or Slicer quits: end the background process. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        self._driver.stop()
        self._shortcuts.remove()
        self._observers.stop()
        self._editor.close()
        self._session.changed.disconnect(self._onChanged)
        self._session.close()

    def update(self) -> None:
        """Show the session as it is."""
        self._stale = False
        for section in self._sections:
            section.update()

    def _onChanged(self) -> None:
        # Drawn at the end of the tick, once, however often the session speaks within it.
        self._stale = True

    def tick(self) -> None:
        """What the timer does: the session's next small step, and what has changed is shown."""
        waited = self._session.wait(_LONGEST_WAIT_S)
        self._session.poll()
        if self._closed:
            return
        self._driver.hurry(waited)
        if self._stale:
            self.update()
        self._ticks += 1
        if self._ticks % _TICKS_PER_LOOK == 0:
            self._painted.tick()
            self._review.tick()
            self._tilt.update()

    def _onFailed(self, error: Exception) -> None:
        """The panel cannot go on; Python's console has the details, but few users look there."""
        self._session.give_up(error)
        hint = _("Save your work and start Slicer again; please report it with the text of the log.")
        self._messages.show(Message("error", _("The panel has stopped after an unexpected error."), hint))

    def _onSceneClosing(self) -> None:
        self._inputs.detach()
        self._session.forget_scene()

    def _onSceneReplaced(self) -> None:
        self._inputs.attach()
        self.update()
