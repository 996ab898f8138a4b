"""The harness is as strict as PythonQt, and fails a test where PythonQt would only print."""

from pathlib import Path

import pytest
import qt
import slicer
import slicer.util
from harness import application, problems


def test_properties_are_attributes_and_no_methods() -> None:
    button = qt.QPushButton("go")
    assert (button.text, button.enabled) == ("go", True)
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(AttributeError):
        button.isEnabled()


def test_unknown_attributes_raise_on_plain_widgets() -> None:
    button = qt.QPushButton()
    with pytest.raises(AttributeError):
        button.colour = "red"
    with pytest.raises(AttributeError):
        button.seeMe()
    with pytest.raises(AttributeError):
        qt.QTimer().singleShot = True
    with pytest.raises(AssertionError):
        button.setText(None)


@pytest.mark.parametrize("name", ["QThread", "Signal", "pyqtSignal", "QTextCodec", "QNoSuchThing"])
def test_what_pythonqt_lacks_is_absent(name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(qt, name)


def test_a_signal_that_does_not_exist_is_a_problem() -> None:
    with problems.expected("no signal cliked(bool)"):
        assert not qt.QPushButton().connect("cliked(bool)", print)


def test_an_exception_in_a_slot_is_a_problem() -> None:
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    with problems.expected("ZeroDivisionError"):
        button.click()


def test_a_slot_gets_no_more_arguments_than_it_takes() -> None:
    heard = []
    button = qt.QPushButton()
    button.setCheckable(True)
    button.connect("clicked(bool)", heard.append)
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.click()
    assert heard == [True, "none"]
    button.disconnect("clicked(bool)", heard.append)
    button.click()
    assert heard == [True, "none", "none"]


def test_vtk_and_qt_messages_are_problems() -> None:
    from harness.binding import QtCore

    with problems.expected("VTK ErrorEvent"):
        slicer.vtkMRMLSliceNode().SetOrientation("askew")
    with problems.expected("Qt: careful"):
        QtCore.qWarning("careful" if hasattr(QtCore, "__file__") and "PySide6" in QtCore.__file__ else b"careful")


def test_a_widget_without_a_stand_in_fails_to_load(tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[3] / "FewShotSAM" / "Resources" / "UI" / "FewShotSAM.ui"
    copy = tmp_path / "x.ui"
    copy.write_text(source.read_text(encoding="utf-8").replace("ctkCollapsibleButton", "ctkNoSuch"), encoding="utf-8")
    with pytest.raises(AssertionError, match="ctkNoSuch"):
        slicer.util.loadUI(str(copy))
    application.processEvents()
