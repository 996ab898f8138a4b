"""Slicer's application error log, `slicer.app.errorLogModel()`.

Every problem is a line in it: Qt's and VTK's messages, exceptions, and what Slicer's own Qt code writes with qCritical.
Such a line fails the test in which it is written. Warnings and errors of Python's `logging` are lines, too, but fail no
test: our code logs them on purpose when it shows a message, so a test that expects none inspects the log.
"""

import logging
from typing import Any

from harness import problems
from harness.binding import QtCore
from harness.pythonqt import standIn


@standIn
class ctkErrorLogModel(QtCore.QSortFilterProxyModel):
    """Lists the lines; `slicer.app.errorLogModel()`."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._lines: list[str] = []

    def logEntryCount(self) -> int:
        return len(self._lines)

    def logEntryDescription(self, row: int) -> str:
        return self._lines[row]

    def _append(self, text: str) -> None:
        self._lines.append(text)


class _FromLogging(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _model._append(f"Python: {record.getMessage()}")


_model: Any = None


def start() -> Any:
    """Return the application's only log, which listens from now on."""
    global _model
    _model = ctkErrorLogModel()
    problems.onReport(_model._append)
    logging.getLogger().addHandler(_FromLogging(logging.WARNING))
    return _model
