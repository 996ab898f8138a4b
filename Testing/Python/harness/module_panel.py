"""Slicer's module panel around the panel: a scroll area that gives its content the height it asks for."""

from typing import Any

from harness.binding import QtCore, QtGui, QtWidgets
from harness.pythonqt import nativeClasses, unwrap

NARROW, SMALL, USUAL = 200, 540, 900  # the panel's height in pixels; SMALL in a window of 1280 by 800
_HELP_HEIGHT = 160
_kept: list[Any] = []  # kept as long as the process: the panels in them are not ours to delete


class ModulePanel(QtWidgets.QWidget):
    """As in qSlicerModulePanel.ui and .cxx of Slicer 5.12: help above, the module stretched, a spacer below."""

    def __init__(self, module: Any, height: int, dark: bool = False) -> None:
        super().__init__()
        _kept.append(self)
        self.setPalette(palette(dark))
        QtWidgets.QApplication.setPalette(palette(dark))  # a style sets the application's palette, which links use
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
        """The panel's minimum width for Slicer, which makes the views next to it narrower."""
        bar = self.area.verticalScrollBar().sizeHint().width()
        return int(self.area.widget().minimumSizeHint().width() + bar)

    def scrolls(self) -> bool:
        """Whether Slicer's own scroll area would have to scroll."""
        return bool(self.area.verticalScrollBar().maximum() > 0)

    def sees(self, widget: Any) -> bool:
        """Whether a whole widget is visible."""
        native = unwrap(widget)
        top = native.mapTo(self, native.rect().topLeft()).y()
        return bool(native.isVisible() and top >= 0 and top + native.height() <= self.height())


def palette(dark: bool) -> Any:
    """Return the palette of Slicer's light or dark style, for text, links and background: qSlicerDarkStyle.cxx."""
    made = QtGui.QPalette()
    roles = ("Window", "Base", "AlternateBase", "Button", "Midlight", "WindowText", "Text", "ButtonText", "Link")
    light_colors, dark_colors = (
        ("#efefef", "#ffffff", "#efefef", "#e5e5e5", "#e5e5e5", "#000000", "#000000", "#000000", "#0000ff"),
        ("#323232", "#1e1e1e", "#323232", "#323232", "#5a5a5b", "#ffffff", "#ffffff", "#ffffff", "#3ca4ff"),
    )
    for name, color in zip(roles, dark_colors if dark else light_colors, strict=True):
        made.setColor(getattr(QtGui.QPalette, name), QtGui.QColor(color))
    off = ("#6d6d6d", "#6d6d6d", "#b4b4b4") if dark else ("#808080",) * 3
    for name, color in zip(("WindowText", "Text", "ButtonText"), off, strict=True):
        made.setColor(QtGui.QPalette.Disabled, getattr(QtGui.QPalette, name), QtGui.QColor(color))
    return made
