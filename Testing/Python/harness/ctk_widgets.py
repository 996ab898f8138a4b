"""Stand-ins for the CTK widgets in the panel, with the signals and properties of the real ones."""

from typing import Any

from harness.binding import Property, QtCore, QtGui, QtWidgets, Signal
from harness.pythonqt import standIn

_HEADER_HEIGHT = 24
_WISH = "visibilityToParent"  # CTK's own name: whether the child was requested to be visible


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header whose click shows or hides what is below it; checked means expanded.

    As in CTK, a child that is shown while the button is collapsed stays hidden until it is expanded.
    """

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._folded, self._forcing, self._collapsedHeight = False, False, 0
        self._heightBefore = self.maximumHeight()
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, _HEADER_HEIGHT, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, unfolded: bool) -> None:
        if unfolded != self._folded:
            return
        self._folded = not unfolded
        if self._folded:
            self._heightBefore = self.maximumHeight()
            self.setMaximumHeight(_HEADER_HEIGHT)
        else:
            self.setMaximumHeight(self._heightBefore)
        self._showChildren()
        self.updateGeometry()
        self.contentsCollapsed.emit(self._folded)

    def _showChildren(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._watch(child)
                self._force(child)

    def _watch(self, child: Any) -> None:
        if child.property(_WISH) is None:
            explicit = child.testAttribute(QtCore.Qt.WA_WState_ExplicitShowHide)
            child.setProperty(_WISH, not (explicit and child.testAttribute(QtCore.Qt.WA_WState_Hidden)))
            child.installEventFilter(self)

    def _force(self, child: Any) -> None:
        self._forcing = True
        child.setVisible(not self._folded and bool(child.property(_WISH)))
        self._forcing = False

    def eventFilter(self, child: Any, event: Any) -> bool:
        if not self._forcing and event.type() == QtCore.QEvent.ShowToParent:
            child.setProperty(_WISH, True)
            self._force(child)
        elif not self._forcing and event.type() == QtCore.QEvent.HideToParent:
            child.setProperty(_WISH, False)
        return False

    def setVisible(self, visible: bool) -> None:
        self._forcing = True
        super().setVisible(visible)
        self._forcing = False
        self._showChildren()

    def sizeHint(self) -> Any:
        if self._folded:
            return QtCore.QSize(120, _HEADER_HEIGHT)
        return super().sizeHint()

    def minimumSizeHint(self) -> Any:
        return self.sizeHint() if self._folded else super().minimumSizeHint()

    def hitButton(self, position: Any) -> bool:
        return bool(position.y() < _HEADER_HEIGHT)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        header = QtCore.QRect(0, 0, self.width(), _HEADER_HEIGHT - 3)
        painter.fillRect(header, self.palette().color(QtGui.QPalette.Midlight))
        painter.drawText(header.adjusted(22, 0, 0, 0), QtCore.Qt.AlignVCenter, self.text())
        painter.drawText(header.adjusted(6, 0, 0, 0), QtCore.Qt.AlignVCenter, "▸" if self._folded else "▾")
        painter.end()

    def setCollapsed(self, collapsed: bool) -> None:  # a plain C++ method: exists for .ui files, not for Python
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: self._folded, setCollapsed)

    def setCollapsedHeight(self, height: int) -> None:
        self._collapsedHeight = height

    collapsedHeight = Property(int, lambda self: self._collapsedHeight, setCollapsedHeight)
