"""What other volumes need is added to a saved model in the background, which yields to every run."""

from pathlib import Path
from typing import Any, cast

import pytest

from FewShotSAMLib.workflow.computer import ComputerMixin
from FewShotSAMLib.workflow.requests import Requests
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.state import Signal


class Client:
    """A background process that answers when told to."""

    running = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self.events: list[dict[str, Any]] = []

    def start(self) -> None:
        """Do nothing: it runs already."""

    def request(self, command: str, parameters: dict[str, Any]) -> str:
        self.asked.append((command, parameters))
        return str(len(self.asked))

    def cancel(self, request: str) -> None:
        self.cancelled.append(request)

    def poll(self) -> list[dict[str, Any]]:
        events, self.events = self.events, []
        return events


class Saving(ComputerMixin):
    """The part of a session that completes models."""

    def __init__(self, *models: Path) -> None:
        self.settings, self.said, self.is_busy = Settings(device="cpu", method="lora"), Signal(), False
        self._incomplete, self.client, self.errors = [*models], Client(), list[Any]()
        told = [lambda _: None] * 3
        self._requests = Requests(cast(Any, self.client), *told, lambda job, error: self.errors.append(error))

    def begin(self) -> None:
        self._requests.submit("propagate", {}, lambda report: None, is_run=True)
        self.is_busy = True

    def go(self) -> None:
        self._requests.poll()
        self._complete_models()


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.fewshot" for name in "ab"]
    for path in paths:
        path.touch()
    return paths


def test_one_by_one_and_once(models: list[Path]) -> None:
    session = Saving(*models)
    client = session.client
    for _ in range(3):
        session.go()
    assert client.asked == [("complete_model", {"model": str(models[0]), "device": "cpu"})]
    client.events = [{"type": "result", "id": "1", "report": {}}]
    session.go()
    assert client.asked[1][1]["model"] == str(models[1])
    client.events = [{"type": "error", "id": "2", "kind": "bad_input", "message": "Damaged.", "hint": "", "log": ""}]
    for _ in range(3):
        session.go()
    assert len(client.asked) == 2 and len(session.errors) == 2, "what failed is told, and not tried again for ever"


def test_a_run_goes_first(models: list[Path]) -> None:
    session = Saving(models[0])
    client = session.client
    session.go()
    session.begin()
    assert client.cancelled == ["1"]
    session.go()
    assert [command for command, _ in client.asked] == ["complete_model", "propagate"]
    client.events = [{"type": "result", "id": "2", "report": {}}]
    session.is_busy = False
    session.go()
    assert [command for command, _ in client.asked] == ["complete_model", "propagate", "complete_model"]


def test_a_model_that_was_deleted_is_passed_over(models: list[Path]) -> None:
    session = Saving(models[0])
    models[0].unlink()
    session.go()
    assert not session.client.asked and not session._incomplete
