"""What a session asks of the background process besides runs: the computer's hardware, downloads, reading files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from FewShotSAMLib.workflow.cost import Machine
from FewShotSAMLib.workflow.message import reporting
from FewShotSAMLib.workflow.requests import Requests
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.state import Signal, State

Take = Callable[[dict[str, Any]], None]
CANCELLABLE = ("download", "read_volume")
"""Commands that Cancel stops and that leave no result to review."""


class ComputerMixin:
    """A part of `Session`."""

    machine: Machine | None = None
    settings: Settings
    changed: Signal
    said: Signal
    is_busy: Any
    _requests: Requests
    _incomplete: list[Path]
    _set_state: Callable[[State], None]

    def inspect(self) -> None:
        """Ask what the computer can do; `machine` has the answer some time later."""
        self._ask("inspect", {}, self._take_machine)

    def download(self, encoder: str) -> None:
        """Download an encoder's weights. Ask the user first: size and licence are in `machine`."""
        self._ask("download", {"encoder": encoder}, lambda report: self.inspect(), is_run=True)

    def clear_cache(self) -> None:
        """Delete the cached embeddings."""
        self._ask("clear_cache", {}, lambda report: self.inspect())

    def read_volume(self, path: Path, output: Path, inside: Path | None, take: Take) -> None:
        """Read a volume's file in the background process, where a crash does no harm; `take` gets the report.

        output, inside: see `worker.reading`.
        """

        def taken(report: dict[str, Any]) -> None:
            self._set_state(State.IDLE)
            take(report)

        place = {} if inside is None else {"inside": str(inside)}
        self._ask("read_volume", {"path": str(path), "output": str(output), **place}, taken, is_run=True)

    def _complete_models(self) -> None:
        """Complete the saved models with what other volumes need, one by one while the session is idle: it takes
        seconds, the models work without it, and nobody has to wait."""
        if not self._incomplete or self.is_busy or self._requests.is_under_way("complete_model"):
            return
        path = self._incomplete.pop(0)
        asked = {"model": str(path), **self.settings.computing()}
        with reporting(self.said.emit):
            if path.is_file():  # else deleted or renamed
                submit = self._requests.submit
                submit("complete_model", asked, lambda report: None, on_drop=lambda: self._incomplete.append(path))

    def _ask(self, command: str, parameters: dict[str, Any], on_result: Any, is_run: bool = False) -> None:
        """Submit a request other than a propagation; one of each kind at a time."""
        if self._requests.is_under_way(command) or (is_run and self.is_busy):
            return
        with reporting(self.said.emit):
            self._requests.submit(command, parameters, on_result, is_run=is_run)
            if is_run:
                self._set_state(State.RUNNING)

    def _take_machine(self, report: dict[str, Any]) -> None:
        self.machine = Machine.from_report(report)
        self.changed.emit()
