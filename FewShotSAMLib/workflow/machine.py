"""What the background process says about the computer, for the panel's choice of device and encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from FewShotSAMLib.core.pace import Pace
from FewShotSAMLib.options import AUTO, AUTOMATIC_ENCODER


@dataclass(frozen=True)
class Device:
    """Where to compute; name as in `Settings.device`. Bytes are None where the system does not tell."""

    name: str
    title: str
    total_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True)
class EncoderState:
    """An encoder of the registry, whether its weights are at hand, and estimates for the best device.

    A run takes about `start_seconds` where the process has to be started, and what the pace of its method says: see
    `cost.run_seconds`.
    """

    name: str
    title: str
    licence: str
    download_bytes: int
    present: bool
    memory_bytes: int
    start_seconds: float
    paces: Mapping[str, Pace]


@dataclass(frozen=True)
class Machine:
    """The computer as the background process sees it."""

    devices: tuple[Device, ...]
    best_device: str
    encoders: tuple[EncoderState, ...]
    cache_bytes: int
    cache_limit_bytes: int
    cache_folder: str
    memory_free_bytes: int | None

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> Machine:
        """What the job `inspect` reported."""
        encoders = [
            each | {"paces": {name: Pace(**pace) for name, pace in each["paces"].items()}}
            for each in report["encoders"]
        ]
        rest = {name: report[name] for name in ("best_device", "cache_bytes", "cache_limit_bytes", "cache_folder")}
        return cls(
            devices=tuple(Device(**each) for each in report["devices"]),
            encoders=tuple(EncoderState(**each) for each in encoders),
            memory_free_bytes=report["memory_free_bytes"],
            **rest,
        )

    def with_pace(self, pace: Mapping[str, Any] | None) -> Machine:
        """The same with what a run's report says that it measured; the estimates are for the best device alone."""
        if pace is None or pace["device"] != self.best_device:
            return self
        method, name = pace["method"], pace["encoder"]
        found = {field.name: pace[field.name] for field in fields(Pace) if field.name in pace}
        encoders = tuple(
            replace(each, paces={**each.paces, method: replace(each.paces[method], **found)})
            if each.name == name and method in each.paces
            else each
            for each in self.encoders
        )
        return replace(self, encoders=encoders)

    def encoder(self, name: str) -> EncoderState | None:
        """The encoder of this name, or the one that "auto" stands for."""
        name = AUTOMATIC_ENCODER if name == AUTO else name
        return next((each for each in self.encoders if each.name == name), None)
