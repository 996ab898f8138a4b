"""Slicer's module panel around a panel: a scroll area that gives its contents the height they ask for."""

from typing import Any

from harness.binding import QtCore, QtGui, QtWidgets
from harness.pythonqt import nativeClasses, unwrap

NARROW, SMALL, USUAL = 200, 540, 900  # pixels of height that the panel has; SMALL in a window of 1280 by 800
_HELP_HEIGHT = 160
_kept: list[Any] = []  # as long as the process: the panels within them are not ours to delete


class ModulePanel(QtWidgets.QWidget):
    """As in qSlicerModulePanel.ui and .cxx of Slicer 5.12: help above, the module stretched, a spring below."""

    def __init__(self, module: Any, height: int, dark: bool = False) -> None:
        super().__init__()
        _kept.append(self)
        self.setPalette(palette(dark))
        self.setAutoFillBackground(True)
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.area, contents = QtWidgets.QScrollArea(), QtWidgets.QWidget()
        self.area.setFrameShape(QtWidgets.QFrame.NoFrame)
        self.area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        self.area.setWidgetResizable(True)
        layout.addWidget(self.area)
        column = QtWidgets.QVBoxLayout(contents)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSizeConstraint(QtWidgets.QLayout.SetMinAndMaxSize)
        self.help = nativeClasses["ctkCollapsibleButton"]()
        self.help.setText("Help && Acknowledgement")
        policy = QtWidgets.QSizePolicy
        self.help.setSizePolicy(policy.Ignored, policy.Fixed)
        text = QtWidgets.QLabel("Help")
        text.setFixedHeight(_HELP_HEIGHT)
        QtWidgets.QVBoxLayout(self.help).addWidget(text)
        self.help.setChecked(False)
        column.addWidget(self.help)
        self.module = unwrap(module)
        self.module.layout().setContentsMargins(0, 0, 0, 0)
        column.insertWidget(1, self.module, 1)
        self.module.setSizePolicy(policy.Minimum, self.module.sizePolicy().verticalPolicy())
        column.addItem(QtWidgets.QSpacerItem(0, 0, policy.Minimum, policy.MinimumExpanding))
        self.area.setWidget(contents)
        self.resize(self.narrowest(), height)
        self.show()
        self.module.show()

    def narrowest(self) -> int:
        """What Slicer takes as the panel's minimum width, so that views beside it become narrower."""
        bar = self.area.verticalScrollBar().sizeHint().width()
        return int(self.area.widget().minimumSizeHint().width() + bar)

    def scrolls(self) -> bool:
        """Whether Slicer's own scroll area would have to be scrolled."""
        return bool(self.area.verticalScrollBar().maximum() > 0)

    def sees(self, widget: Any) -> bool:
        """Whether the whole of a widget is in sight."""
        native = unwrap(widget)
        top = native.mapTo(self, native.rect().topLeft()).y()
        return bool(native.isVisible() and top >= 0 and top + native.height() <= self.height())


def palette(dark: bool) -> Any:
    """Of Slicer's light or dark style, as far as text and background are concerned."""
    made = QtGui.QPalette()
    light_colors, dark_colors = (
        ("#efefef", "#ffffff", "#000000", "#e5e5e5"),
        ("#323232", "#262626", "#ffffff", "#464646"),
    )
    paper, base, ink, button = dark_colors if dark else light_colors
    for role, color in (
        (QtGui.QPalette.Window, paper),
        (QtGui.QPalette.Base, base),
        (QtGui.QPalette.AlternateBase, paper),
        (QtGui.QPalette.Button, button),
        (QtGui.QPalette.Midlight, button),
        (QtGui.QPalette.WindowText, ink),
        (QtGui.QPalette.Text, ink),
        (QtGui.QPalette.ButtonText, ink),
    ):
        made.setColor(role, QtGui.QColor(color))
        if role in (QtGui.QPalette.WindowText, QtGui.QPalette.Text, QtGui.QPalette.ButtonText):
            made.setColor(QtGui.QPalette.Disabled, role, QtGui.QColor("#808080"))
    return made
