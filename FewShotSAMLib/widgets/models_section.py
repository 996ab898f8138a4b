"""Section 4: few-shot models, which are stored in a folder of the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from FewShotSAMLib.mrml.choice import offeredVolumes
from FewShotSAMLib.widgets.dialogs import completePath
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import ModelEntry
from FewShotSAMLib.workflow.cost import format_bytes

_ID_ROLE = qt.Qt.UserRole


class ModelsSection:
    """The list of models with its buttons, and the volumes that one is applied to."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._entries: list[ModelEntry] = []
        self._isRead = False
        for button in (ui.saveModelButton, ui.keepModelButton):
            button.connect("clicked()", self._onSave)
        ui.loadModelButton.connect("clicked()", self._onLoad)
        ui.renameModelButton.connect("clicked()", self._onRename)
        ui.deleteModelButton.connect("clicked()", self._onDelete)
        ui.exportModelButton.connect("clicked()", self._onExport)
        ui.applyModelButton.connect("clicked()", self._onApply)
        ui.showTableButton.connect("clicked()", self._onShowTable)
        ui.modelList.connect("itemSelectionChanged()", self._updateButtons)
        ui.volumeList.connect("itemChanged(QListWidgetItem*)", self._onVolumeTicked)
        ui.modelsSection.connect("contentsCollapsed(bool)", self.update)
        stretch, toContents = qt.QHeaderView.Stretch, qt.QHeaderView.ResizeToContents
        for column, mode in enumerate((stretch, toContents, toContents)):
            ui.modelList.header().setSectionResizeMode(column, mode)

    def update(self) -> None:
        """Show what is in the folder and in the scene; the folder is read only while the section is expanded."""
        if not self._ui.modelsSection.collapsed and not self._services.session.is_busy:
            self._fillModels()
            self._fillVolumes()
        self._updateButtons()

    def _fillModels(self) -> None:
        entries = self._services.session.models.entries()
        if entries == self._entries:
            return
        selected = self._toSelect(entries)
        self._entries = []  # clearing signals a changed selection, when entries and rows would not match
        self._ui.modelList.clear()
        for entry in entries:
            item = qt.QTreeWidgetItem()
            names = ", ".join(segment.name for segment in entry.segments)
            for column, text in enumerate((entry.name, names, entry.plane)):
                item.setText(column, text)
            details = _("{0}, encoder {1}, {2}").format(entry.method, entry.encoder, format_bytes(entry.size_bytes))
            item.setToolTip(0, details)
            self._ui.modelList.addTopLevelItem(item)
            self._entries.append(entry)
            item.setSelected(entry.path == selected)

    def _toSelect(self, entries: list[ModelEntry]) -> Path | None:
        """The model that was just saved, loaded or renamed, else the one that was selected."""
        chosen, known = self._chosen(), {entry.path for entry in self._entries}
        new = [entry.path for entry in entries if entry.path not in known]
        wasRead, self._isRead = self._isRead, True
        if wasRead and len(new) == 1:
            return new[0]
        return chosen.path if chosen is not None else None

    def _fillVolumes(self) -> None:
        wanted = [(node.GetID(), node.GetName()) for node in offeredVolumes(slicer.mrmlScene)]
        listed = self._ui.volumeList
        items = [listed.item(row) for row in range(listed.count)]
        if wanted == [(item.data(_ID_ROLE), item.text()) for item in items]:
            return
        ticked = self._tickedVolumes()
        listed.clear()
        for nodeId, name in wanted:
            item = qt.QListWidgetItem(name)
            item.setData(_ID_ROLE, nodeId)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if nodeId in ticked else qt.Qt.Unchecked)
            listed.addItem(item)

    def _tickedVolumes(self) -> list[str]:
        items = [self._ui.volumeList.item(row) for row in range(self._ui.volumeList.count)]
        return [str(item.data(_ID_ROLE)) for item in items if item.checkState() == qt.Qt.Checked]

    def _chosen(self) -> ModelEntry | None:
        rows = [row for row in range(len(self._entries)) if self._ui.modelList.topLevelItem(row).isSelected()]
        return self._entries[rows[0]] if rows else None

    def _updateButtons(self) -> None:
        session = self._services.session
        chosen = self._chosen() is not None
        for button in (self._ui.renameModelButton, self._ui.deleteModelButton, self._ui.exportModelButton):
            button.setEnabled(chosen)
        self._ui.saveModelButton.setEnabled(session.learned_model is not None)
        kept = _("Save what the last run learned.")
        self._ui.saveModelButton.setToolTip(kept if session.learned_model else _("Propagate first."))
        self._ui.keepModelButton.setVisible(session.review is not None and session.learned_model is not None)
        self._ui.showTableButton.setVisible(self._page() is not None)
        ready = chosen and bool(self._tickedVolumes())
        self._ui.applyModelButton.setEnabled(ready and not session.is_busy)
        missing = _("Choose a model above and tick the volumes to segment.")
        self._ui.applyModelButton.setToolTip(_("Each volume gets a new segmentation.") if ready else missing)

    def _onVolumeTicked(self, item: Any) -> None:
        self._updateButtons()

    def _onSave(self) -> None:
        target = self._services.session.target
        node = slicer.mrmlScene.GetNodeByID(target.segmentation) if target is not None else None
        proposal = node.GetName() if node is not None else ""
        name = self._services.dialogs.askName(_("Save few-shot model"), _("Name:"), proposal)
        if name:
            self._messages.attempt(self._services.session.save_model, name)
            self.update()

    def _onLoad(self) -> None:
        path = self._services.dialogs.openFile(_("Load few-shot model"), _("Few-shot models (*.fewshot)"))
        if path:
            self._messages.attempt(self._services.session.models.add_file, Path(path))
            self.update()

    def _onRename(self) -> None:
        entry = self._chosen()
        if entry is None:
            return
        name = self._services.dialogs.askName(_("Rename few-shot model"), _("New name:"), entry.name)
        if name and name != entry.name:
            self._change(self._services.session.rename_model, entry, name)

    def _onDelete(self) -> None:
        entry = self._chosen()
        question = _("Delete the few-shot model “{0}”? This cannot be undone.")
        if entry is not None and self._services.dialogs.confirm(question.format(entry.name), _("Delete model")):
            self._change(self._services.session.delete_model, entry)

    def _change(self, how: Callable[..., None], *arguments: Any) -> None:
        """Change the library, and update the choice of earlier patients, which is stored in the scene."""
        self._messages.attempt(how, *arguments)
        self._services.parameters.earlier = self._services.session.earlier
        self.update()

    def _onExport(self) -> None:
        entry = self._chosen()
        if entry is None:
            return
        name = f"{entry.name}.fewshot"
        path = self._services.dialogs.saveFile(_("Export few-shot model"), name, _("Few-shot models (*.fewshot)"))
        complete = completePath(self._services.dialogs, path, ".fewshot")
        if complete:
            self._messages.attempt(self._services.session.models.copy_to, entry, Path(complete))

    def _onApply(self) -> None:
        entry = self._chosen()
        if entry is not None:
            self._messages.attempt(self._services.session.apply_model, entry, self._tickedVolumes())

    def _page(self) -> Path | None:
        applied = self._services.session.applied
        return None if applied is None else applied.page

    def _onShowTable(self) -> None:
        page = self._page()
        if page is not None:
            self._services.dialogs.showPage(page)
