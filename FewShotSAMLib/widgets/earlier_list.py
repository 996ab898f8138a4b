"""A list below the painted slices: few-shot models of earlier patients, to be ticked."""

from __future__ import annotations

from typing import Any

import qt

from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.widgets.workflow_texts import translated
from FewShotSAMLib.workflow.earlier import EarlierModel

_MOST_ROWS = 4


class EarlierList:
    """Lists the models while the section is expanded; the choice is stored in the scene."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui, self._services = ui, services
        self._shown: list[EarlierModel] = []
        self._updating = False
        ui.earlierList.connect("itemChanged(QListWidgetItem*)", self._onTicked)
        ui.paintedSection.connect("contentsCollapsed(bool)", self.update)
        self._fill([])

    def update(self) -> None:
        """Show the models of the user's folder, and which are chosen. Nothing changes during a run."""
        session = self._services.session
        self._ui.earlierList.setEnabled(not session.is_busy)
        if session.is_busy or self._ui.paintedSection.collapsed:
            return
        models = session.earlier_models(session.models.entries())
        if models != self._shown:
            self._fill(models)

    def _fill(self, models: list[EarlierModel]) -> None:
        listed, self._shown, self._updating = self._ui.earlierList, models, True
        listed.clear()
        for each in models:
            item = qt.QListWidgetItem(each.name)
            usable = qt.Qt.ItemIsEnabled if each.is_chosen or not each.why_not else qt.Qt.NoItemFlags
            item.setFlags(qt.Qt.ItemIsUserCheckable | usable)
            item.setCheckState(qt.Qt.Checked if each.is_chosen else qt.Qt.Unchecked)
            item.setToolTip(translated(each.why_not) or _("Segments: {0}").format(", ".join(each.segments)))
            listed.addItem(item)
        for widget in (listed, self._ui.earlierTitle):
            widget.setVisible(bool(models))
        rows = min(len(models), _MOST_ROWS)
        listed.setFixedHeight(rows * max(listed.sizeHintForRow(0), 1) + 2 * listed.frameWidth)
        self._updating = False

    def _onTicked(self, item: Any) -> None:
        if self._updating:
            return
        session = self._services.session
        name, chosen = self._shown[self._ui.earlierList.row(item)].name, item.checkState() == qt.Qt.Checked
        session.choose_earlier(name, chosen)
        self._services.parameters.earlier = session.earlier
