"""The lines that the background process and its parent exchange: one JSON object per line, ASCII only.

Requests (stdin): `request {id, command, parameters}`, `cancel {id}`, `finish {id}`, `shutdown`; the name is in the
key "type".
Events (stdout), each with the "id" of its request (null if there is none):
`ready {version, pid, log}` · `progress {stage, done, total, eta_s}` · `preview {...}` · `metric {name, value}` ·
`warning {message}` · `result {report}` · `error {kind, message, hint, log}`,
and `{code, values}` if the hint has a code (core/hints.py).
A request ends with exactly one result or one error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import CLI_WORDS, Hint
from FewShotSAMLib.core.plain_json import plain

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 2**20
"""A longer line is not a request; it is skipped without being kept in memory."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """Run a job."""

    id: str
    command: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancel:
    """Stop the job of this id, or take it out of the queue."""

    id: str


@dataclass(frozen=True)
class Finish:
    """Stop training in the job of this id and return the result so far."""

    id: str


@dataclass(frozen=True)
class Shutdown:
    """Cancel the running job and end the process."""


Message = Request | Cancel | Finish | Shutdown


class MalformedLineError(BadInputError):
    """A line that is not a message; has a `request_id` if at least that could be read."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message, "Send one JSON object per line as described in FewShotSAMLib/worker/protocol.py.")
        self.request_id = request_id


def encode(message: Mapping[str, Any]) -> bytes:
    """One line for the stream. Paths become text, arrays lists, and numbers that JSON lacks (NaN, ±inf) null."""
    return json.dumps(plain(message), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def encode_message(message: Message) -> bytes:
    """One line for the background process's stdin."""
    return encode({"type": type(message).__name__.lower(), **vars(message)})


def parse_message(line: bytes) -> Message:
    """The message of one line from stdin. Raises MalformedLineError."""
    content = _parse_object(line)
    request_id = content.get("id")
    kind = content.get("type")
    if kind == "shutdown":
        return Shutdown()
    if not isinstance(request_id, str) or not request_id:
        raise MalformedLineError('The message has no "id".')
    if kind in ("cancel", "finish"):
        return Cancel(request_id) if kind == "cancel" else Finish(request_id)
    if kind != "request":
        raise MalformedLineError(f"There is no message of type {kind!r}.", request_id)
    command, parameters = content.get("command"), content.get("parameters", {})
    if not isinstance(command, str) or not isinstance(parameters, dict):
        raise MalformedLineError('A request needs a "command" (text) and "parameters" (an object).', request_id)
    return Request(request_id, command, parameters)


def parse_event(line: bytes) -> Event | None:
    """The event of one line from stdout, None if the line is not an event."""
    try:
        content = _parse_object(line)
    except MalformedLineError:
        return None
    return content if isinstance(content.get("type"), str) else None


def hint_of(event: Event) -> Hint | str:
    """The hint of an error event; its plain text if this version does not know its code."""
    code, values = event.get("code"), event.get("values", {})
    if code in CLI_WORDS and isinstance(values, dict):
        return Hint(str(code), {str(name): str(value) for name, value in values.items()})
    return str(event.get("hint", ""))


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedLineError(f"The line is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise MalformedLineError("The line is JSON, but not an object.")
    return content


def error_event(
    request_id: str | None, kind: str, message: str, hint: Hint | str = "", log: Path | str | None = None
) -> Event:
    """The last event of a failed request; `log` is the file that holds the traceback of a bug.

    The hint is sent as text, in the command line's words, and with its code and values if it has a code.
    """
    coded = {"code": hint.code, "values": dict(hint.values)} if isinstance(hint, Hint) else {}
    return {
        "type": "error",
        "id": request_id,
        "kind": kind,
        "message": message,
        "hint": str(hint),
        "log": "" if log is None else str(log),
        **coded,
    }
