"""Stand-ins of the CTK widgets in the panel, with the signals and properties of the real ones."""

from typing import Any

from harness.binding import Property, QtCore, QtGui, QtWidgets, Signal
from harness.pythonqt import standIn

_HEADER_HEIGHT = 24
_WIDEST = 16777215  # QWIDGETSIZE_MAX, which PySide6 does not have


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header whose click shows or hides what lies below it; checked means unfolded."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, _HEADER_HEIGHT, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, unfolded: bool) -> None:
        self._showChildren(unfolded)
        self.contentsCollapsed.emit(not unfolded)

    def _showChildren(self, shown: bool) -> None:
        wish = "harnessHidden"
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                if not shown:
                    child.setProperty(wish, child.isHidden())
                child.setVisible(shown and not child.property(wish))
        self.setMaximumHeight(_WIDEST if shown else _HEADER_HEIGHT)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        if not self.isChecked() and self.maximumHeight() != _HEADER_HEIGHT:
            self._showChildren(False)

    def sizeHint(self) -> Any:
        if not self.isChecked():
            return QtCore.QSize(120, _HEADER_HEIGHT)
        return super().sizeHint()

    def minimumSizeHint(self) -> Any:
        return self.sizeHint() if not self.isChecked() else super().minimumSizeHint()

    def hitButton(self, position: Any) -> bool:
        return bool(position.y() < _HEADER_HEIGHT)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        header = QtCore.QRect(0, 0, self.width(), _HEADER_HEIGHT - 3)
        painter.fillRect(header, self.palette().color(QtGui.QPalette.Midlight))
        painter.drawText(header.adjusted(22, 0, 0, 0), QtCore.Qt.AlignVCenter, self.text())
        painter.drawText(header.adjusted(6, 0, 0, 0), QtCore.Qt.AlignVCenter, "▾" if self.isChecked() else "▸")
        painter.end()

    def _collapsed(self) -> bool:
        return not self.isChecked()

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _collapsed, setCollapsed)

    def _collapsedHeight(self) -> int:
        return int(self.property("harnessCollapsedHeight") or 0)

    def setCollapsedHeight(self, height: int) -> None:
        self.setProperty("harnessCollapsedHeight", height)

    collapsedHeight = Property(int, _collapsedHeight, setCollapsedHeight)
