"""Section 6: method, encoder, device, post-processing and the cache."""

from __future__ import annotations

import dataclasses
from typing import Any

from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.options import AUTO, PRECISIONS, option
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import WARNING, EncoderState, Machine, Message, State
from FewShotSAMLib.workflow.cost import format_bytes

_PRECISION_TITLES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class AdvancedSection:
    """Shows the session's `Settings` and changes them; they are saved for the next start."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._updating = False
        self._listed: Machine | None = None
        self._choices = {name: getattr(ui, f"{name}Choice") for name in ("method", "encoder", "device", "precision")}
        _fill(ui.methodChoice, [(method.title, method.name) for method in METHODS])
        precisions = [(_PRECISION_TITLES.get(name, name), name) for name in PRECISIONS if name != AUTO]
        _fill(ui.precisionChoice, [(_("Automatic"), AUTO), *precisions])
        _bound(ui.smoothing, "smooth_mm")
        _bound(ui.cacheLimit, "cache_limit_gb")
        self._listMachine(None)
        for choice in self._choices.values():
            choice.connect("currentIndexChanged(int)", self._onEdited)
        for box in (ui.largestIslandCheck, ui.fillHolesCheck):
            box.connect("toggled(bool)", self._onEdited)
        for number in (ui.smoothing, ui.cacheLimit):
            number.connect("valueChanged(double)", self._onEdited)
        ui.checkpointPath.connect("editingFinished()", self._onEdited)
        ui.checkpointButton.connect("clicked()", self._onCheckpoint)
        ui.downloadButton.connect("clicked()", self._onDownload)
        ui.clearCacheButton.connect("clicked()", self._onClearCache)
        ui.inspectButton.connect("clicked()", self._onInspect)
        if services.store.dropped:
            text = _("Settings of an earlier version were reset to their defaults: {names}.")
            text = text.format(names=", ".join(name.replace("_", " ") for name in services.store.dropped))
            messages.show(Message(WARNING, text, _("Choose them again under Advanced, if needed.")))
            services.store.save(services.session.settings)
            services.store.dropped = []

    def update(self) -> None:
        """Show settings and machine."""
        session = self._services.session
        self._updating = True
        try:
            if session.machine is not self._listed:
                self._listMachine(session.machine)
            self._showSettings()
        finally:
            self._updating = False
        self._showEncoder()
        self._showCache()

    def _listMachine(self, machine: Machine | None) -> None:
        self._listed = machine
        wasUpdating, self._updating = self._updating, True
        encoders, devices = (machine.encoders, machine.devices) if machine is not None else ((), ())
        titles = [
            (_("{0} ({1} free)").format(each.title, format_bytes(each.free_bytes)), each.name) for each in devices
        ]
        _fill(self._ui.encoderChoice, [(_("Automatic"), AUTO), *((each.title, each.name) for each in encoders)])
        _fill(self._ui.deviceChoice, [(_("Automatic"), AUTO), *titles])
        self._updating = wasUpdating

    def _showSettings(self) -> None:
        settings = self._services.session.settings
        for name, choice in self._choices.items():
            _choose(choice, getattr(settings, name))
        self._ui.checkpointPath.setText(settings.checkpoint)
        self._ui.largestIslandCheck.setChecked(settings.largest_island)
        self._ui.fillHolesCheck.setChecked(settings.fill_holes)
        self._ui.smoothing.setValue(settings.smooth_mm)
        self._ui.cacheLimit.setValue(settings.cache_limit_gb or 0)
        self._ui.settingsFrame.setEnabled(not self._services.session.is_busy)

    def _encoder(self) -> EncoderState | None:
        machine = self._services.session.machine
        return machine.encoder(self._services.session.settings.encoder) if machine is not None else None

    def _showEncoder(self) -> None:
        encoder = self._encoder()
        missing = encoder is not None and not encoder.present
        self._ui.downloadButton.setEnabled(missing and self._services.session.state is State.IDLE)
        self._ui.downloadButton.setVisible(missing)
        if encoder is None:
            text = _("Press “Inspect this computer” to list encoders and devices.")
        elif missing:
            text = _("Licence {0}. Not on this computer yet: {1} to download.")
            text = text.format(encoder.licence, format_bytes(encoder.download_bytes))
        else:
            text = _("Licence {0}. On this computer.").format(encoder.licence)
        self._ui.encoderLabel.setText(text)

    def _showCache(self) -> None:
        machine = self._services.session.machine
        self._ui.clearCacheButton.setEnabled(machine is not None and self._services.session.state is State.IDLE)
        if machine is None:
            self._ui.cacheLabel.setText("-")
            return
        used, limit = format_bytes(machine.cache_bytes), format_bytes(machine.cache_limit_bytes)
        self._ui.cacheLabel.setText(_("{0} of {1}").format(used, limit))
        self._ui.cacheLabel.setToolTip(machine.cache_folder)

    def _onEdited(self) -> None:
        if self._updating:
            return
        ui = self._ui
        self._change(
            **{name: str(choice.itemData(choice.currentIndex)) for name, choice in self._choices.items()},
            checkpoint=ui.checkpointPath.text.strip(),
            largest_island=ui.largestIslandCheck.checked,
            fill_holes=ui.fillHolesCheck.checked,
            smooth_mm=ui.smoothing.value,
            cache_limit_gb=ui.cacheLimit.value or None,
        )

    def _change(self, **values: Any) -> None:
        session = self._services.session
        changed = dataclasses.replace(session.settings, **values)
        if changed != session.settings:
            session.settings = changed
            self._services.store.save(changed)

    def _onCheckpoint(self) -> None:
        path = self._services.dialogs.openFile(_("SAM checkpoint"), _("Checkpoints (*.pth *.pt *.safetensors)"))
        if path:
            self._change(checkpoint=path)

    def _onDownload(self) -> None:
        encoder = self._encoder()
        if encoder is None:
            return
        text = _(
            "Download “{0}” ({1}, licence {2})?\n\nIt is stored in your user folder and verified by its SHA-256. "
            "Without internet, download the file elsewhere and choose it as checkpoint."
        ).format(encoder.title, format_bytes(encoder.download_bytes), encoder.licence)
        if self._services.dialogs.confirm(text, _("Download encoder")):
            self._messages.attempt(self._services.session.download, encoder.name)

    def _onClearCache(self) -> None:
        text = _("Delete all cached embeddings? They are computed again when needed.")
        if self._services.dialogs.confirm(text, _("Delete cache")):
            self._messages.attempt(self._services.session.clear_cache)

    def _onInspect(self) -> None:
        self._messages.attempt(self._services.session.inspect)


def _fill(choice: Any, entries: list[tuple[str, str]]) -> None:
    choice.clear()
    for title, value in entries:
        choice.addItem(title, value)


def _bound(box: Any, name: str) -> None:
    """Limit a number box to the values that a request may have."""
    known = option(name)
    box.minimum = known.least
    if known.most is not None:
        box.maximum = known.most


def _choose(choice: Any, value: str) -> None:
    position = choice.findData(value)
    if position < 0:  # a saved choice stays until the computer has been inspected
        choice.addItem(value, value)
        position = choice.findData(value)
    choice.setCurrentIndex(position)
