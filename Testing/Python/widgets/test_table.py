"""Stand-ins for CTK's and Slicer's classes have no member that the real ones, or PythonQt's view of them, lack."""

import inspect
from typing import Any

import pytest
import slicer
import slicer.util
from harness import problems, signatures, table
from harness.binding import NAME, QtCore, Signal
from harness.pythonqt import nativeClasses


def _ofStandIn(cls: type) -> dict[str, Any]:
    """Public members that a stand-in defines itself; those of Qt's classes are Qt's."""
    own: dict[str, Any] = {}
    for each in reversed(cls.__mro__):
        if not (each.__module__ or "").startswith("harness"):
            continue
        own.update({name: value for name, value in vars(each).items() if not name.startswith("_")})
    return {name: value for name, value in own.items() if name not in ("overloads", "staticMetaObject")}


def _overridesQt(className: str, name: str) -> bool:
    """Whether it overrides a virtual method of Qt, which nobody calls through the stand-in's class."""
    return hasattr(table.qtBase(className), name)


@pytest.mark.parametrize("className", sorted(nativeClasses))
def test_a_stand_in_has_no_member_that_the_real_class_lacks(className: str) -> None:
    assert table.chain(className), f"{className} is not in the table"
    for name, value in _ofStandIn(nativeClasses[className]).items():
        if isinstance(value, Signal if NAME == "PySide6" else type(Signal())):
            overloads = getattr(nativeClasses[className], "overloads", {})
            listed = [each for entry in table.chain(className) for each in entry.get("signals", ())]
            assert name in overloads.values() or name in {each.partition("(")[0] for each in listed}, name
        elif inspect.isfunction(value) or isinstance(value, classmethod):
            plain = any(name in entry.get("plain", ()) for entry in table.chain(className))
            assert plain or table.isCallable(className, name) or _overridesQt(className, name), name
        else:
            assert table.isProperty(className, name), name
    for signature in getattr(nativeClasses[className], "overloads", {}):
        assert table.isSignal(className, signature), signature


@pytest.mark.parametrize("className", sorted(table.classes))
def test_the_table_leads_to_qt_and_each_member_has_one_kind(className: str) -> None:
    assert issubclass(table.qtBase(className), QtCore.QObject)
    entry = table.classes[className]
    kinds = [set(entry.get(kind, ())) for kind in ("properties", "slots", "invokables", "decorated")]
    assert not set(entry.get("plain", ())) & set().union(*kinds)
    assert set(entry.get("readonly", ())) <= kinds[0]


def test_plain_methods_of_cpp_do_not_exist_in_python() -> None:
    import ctk

    button = ctk.ctkCollapsibleButton()
    with pytest.raises(AttributeError, match="plain method"):
        button.setCollapsed(True)
    button.collapsed = True
    assert button.collapsed and not button.checked
    selector = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError, match="plain method"):
        selector.setNoneEnabled(True)
    for name in ("currentText", "count", "addItem"):  # members of QComboBox, which is not the real one's base class
        with pytest.raises(AttributeError):
            getattr(selector, name)
    with pytest.raises(AttributeError, match="plain method"):
        slicer.app.setTemporaryPath("x")
    with pytest.raises(AttributeError, match="read-only"):
        slicer.app.slicerHome = "x"


def test_what_a_stand_in_still_lacks_is_told_apart_from_what_nobody_has() -> None:
    with pytest.raises(NotImplementedError):
        slicer.qMRMLNodeComboBox().addMenuAction(None)
    with pytest.raises(AttributeError):
        slicer.qMRMLNodeComboBox().noSuchThing()


def test_signals_have_exactly_the_real_arguments() -> None:
    selector = slicer.qMRMLNodeComboBox()
    with problems.expected("no signal currentNodeIDChanged(int)"):
        assert not selector.connect("currentNodeIDChanged(int)", print)
    assert selector.connect("currentNodeChanged(vtkMRMLNode*)", print)


@pytest.mark.parametrize("name", sorted(signatures.functions("slicer.util", "main")))
def test_the_table_has_the_signatures_of_slicers_own_file(name: str) -> None:
    function: Any = slicer.util
    for part in name.split("."):
        function = getattr(function, part)
    signatures.check(function, "slicer.util", name, "main")


@pytest.mark.parametrize(
    "name", sorted(signatures.functions("slicer.ScriptedLoadableModule", "5.10")), ids=lambda name: name.split(".")[-1]
)
def test_scripted_modules_have_the_real_signatures(name: str) -> None:
    className, _, method = name.partition(".")
    double = vars(getattr(slicer.ScriptedLoadableModule, className)).get(method)
    if double is None:
        pytest.skip("the stand-in does without it")
    signatures.check(double, "slicer.ScriptedLoadableModule", name, "5.10")


def test_translation_has_the_real_signatures() -> None:
    for name in ("tr", "translate"):
        signatures.check(getattr(slicer.i18n, name), "slicer.i18n", name, "5.10")
