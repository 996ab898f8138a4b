"""Loads Qt Designer's files with the binding's own loader; a class without a stand-in is an error."""

import io
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from harness.binding import NAME, QtWidgets
from harness.pythonqt import nativeClasses, wrap


class QUiLoader:
    """PythonQt's class of that name, as far as `slicer.util.loadUI` uses it."""

    def load(self, file: Any) -> Any:
        """Load the widget of an open QFile."""
        path = Path(file.fileName())
        file.close()
        for element in ElementTree.parse(path).iter("customwidget"):
            name = element.findtext("class")
            assert name in nativeClasses, f"{path.name} uses {name}, which has no stand-in"
        widget = _loadedByUic(path) if NAME == "PyQt5" else _loadedByPySide(path)
        return wrap(widget)


def _loadedByUic(path: Path) -> Any:
    from PyQt5 import uic

    tree = ElementTree.parse(path)
    for header in tree.iter("header"):
        header.text = "fewshotsam_stand_ins"
    module = types.ModuleType("fewshotsam_stand_ins")
    vars(module).update(nativeClasses)
    sys.modules[module.__name__] = module
    return uic.loadUi(io.StringIO(ElementTree.tostring(tree.getroot(), encoding="unicode")))


def _loadedByPySide(path: Path) -> Any:
    from PySide6.QtUiTools import QUiLoader as Loader

    class CustomLoader(Loader):
        made: list[Any] = []  # noqa: RUF012 - the Python sides live as long as the process

        def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
            known = nativeClasses.get(className) or getattr(QtWidgets, className, None)
            assert known or className == "Line", f"{path.name} uses {className}"
            widget = known(parent) if known else super().createWidget(className, parent, name)
            widget.setObjectName(name)
            self.made.append(widget)
            return widget

    return CustomLoader().load(str(path))
