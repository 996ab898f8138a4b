"""Qt objects as PythonQt presents them to Slicer's Python, built on PyQt5 or PySide6.

Properties are attributes, signals are connected by their C++ signature, unknown attributes raise, `exec` is `exec_`,
static file dialogs return only the path. CTK's and Slicer's classes only have the members that `table` lists.
Where PythonQt would only print (a signal that does not exist, an exception in a slot), a problem is reported, which
fails the test. Values that are not QObjects (QColor, QIcon, list items), and what they return, are not wrapped.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from harness import problems, table
from harness.binding import LEFT_FOR_DEAD, QtCore, QtGui, QtWidgets

# What PythonQt lacks, or names differently; our code must not rely on it.
ABSENT = {"QThread", "Signal", "Slot", "Property", "pyqtSignal", "pyqtSlot", "pyqtProperty", "QTextCodec", "QVariant"}
_SINGLE_RESULT = {"getOpenFileName", "getOpenFileNames", "getSaveFileName", "getText", "getItem"}
_OVERRIDABLE = {"eventFilter"}

nativeClasses: dict[str, type] = {}  # the stand-ins of CTK's and Slicer's own widgets
_proxyClasses: dict[type, type] = {}
_proxies: dict[int, "Proxy"] = {}


def unwrap(value: Any) -> Any:
    """Return what the binding understands of `value`."""
    if isinstance(value, Proxy):
        return value.native
    if isinstance(value, list | tuple):
        return type(value)(unwrap(item) for item in value)
    return value


def wrap(value: Any) -> Any:
    """Return `value` as PythonQt would return it."""
    if isinstance(value, QtCore.QObject):
        known = _proxies.get(id(value))
        return known if known is not None else proxyClass(type(value)).around(value)
    if isinstance(value, list | tuple):
        return type(value)(wrap(item) for item in value)
    return value


class ProxyType(type):
    """Gives the classes their static methods and enumerators."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or name in ABSENT or "nativeClass" not in _inherited(cls):
            raise AttributeError(f"PythonQt's {cls.__name__} has no {name}")
        known = _tabled(cls.nativeClass)
        if known and not (table.isEnumerator(known, name) or table.isCallable(known, name)):
            raise AttributeError(f"PythonQt: {table.whyNot(known, name)}")
        value = getattr(cls.nativeClass, name)
        return _calling(value, name) if callable(value) and not isinstance(value, type) else value


def _inherited(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in vars(base)}


class Proxy(metaclass=ProxyType):
    """A QObject. Python classes derived from it may override `eventFilter` and have their own attributes."""

    nativeClass: Any
    native: Any

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "nativeClass" in vars(cls):
            return
        for name in vars(cls):
            virtual = name.endswith("Event") or name in {"event", "sizeHint", "paintEngine"}
            assert not virtual or name in _OVERRIDABLE, f"the harness does not call an overridden {name}"

    def __init__(self, *values: Any) -> None:
        _adopt(self, _made(self, [unwrap(value) for value in values]))

    @classmethod
    def around(cls, native: Any) -> "Proxy":
        """Return the proxy of an existing object."""
        proxy = cls.__new__(cls)
        _adopt(proxy, native)
        return proxy

    def __getattr__(self, name: str) -> Any:
        native = vars(self).get("native")
        if native is None or name.startswith("_") or name in ABSENT:
            raise AttributeError(name)
        if _hasProperty(native, name):
            return wrap(native.property(name))
        known = _tabled(type(native))
        stem = name[2].lower() + name[3:] if name.startswith("is") and len(name) > 2 else ""
        isHidden = name == "exec" or (stem and _hasProperty(native, stem))
        if known and (isHidden or not table.isCallable(known, name)):
            raise AttributeError(f"PythonQt: {table.whyNot(known, name)}")
        method = getattr(native, name.removesuffix("_") if name == "exec_" else name, None)
        if known and not callable(method):
            raise NotImplementedError(f"the stand-in of {known} has no {name} yet")
        if isHidden or not callable(method):
            raise AttributeError(f"PythonQt's {type(native).__name__} has no {name}")
        return _calling(method, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if _hasProperty(self.native, name):
            known = _tabled(type(self.native))
            if known and table.isReadOnly(known, name):
                raise AttributeError(f"PythonQt: {known}.{name} is read-only")
            assert self.native.setProperty(name, unwrap(value)), f"{name} takes no {value!r}"
        elif "nativeClass" in vars(type(self)):
            raise AttributeError(f"PythonQt's {type(self).__name__} has no {name}")
        else:
            super().__setattr__(name, value)

    @property
    def name(self) -> str:
        """PythonQt's name for objectName, if the class has no property of that name."""
        return str(self.native.property("name" if _hasProperty(self.native, "name") else "objectName"))

    def className(self) -> str:
        """Return the name of the C++ class."""
        return str(self.native.metaObject().className())

    def connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """Connect `slot` to a signal; it gets no more arguments than its code takes."""
        signal = _signal(self.native, signature)
        if signal is None:
            return False
        count = signature.count(",") + 1 if not signature.endswith("()") else 0
        guarded = _guarded(slot, count)
        signal.connect(guarded)
        vars(self).setdefault("links", []).append((signature, slot, guarded))
        return True

    def disconnect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """Undo `connect`."""
        for link in list(vars(self).get("links", [])):
            if link[:2] == (signature, slot):
                _signal(self.native, signature).disconnect(link[2])
                vars(self)["links"].remove(link)
                return True
        problems.report(f"{signature} of {self.className()} was not connected with {slot}")
        return False


def _adopt(proxy: Proxy, native: Any) -> None:
    vars(proxy)["native"] = native
    _proxies[id(native)] = proxy  # keeps both alive, so that neither the id nor a stand-in's Python side is lost


def _made(proxy: Proxy, values: list[Any]) -> Any:
    nativeClass = type(proxy).nativeClass
    if "eventFilter" not in _inherited(type(proxy)):
        return nativeClass(*values)

    def eventFilter(self: Any, watched: Any, event: Any) -> bool:
        try:
            return bool(proxy.eventFilter(wrap(watched), event))
        except Exception:  # noqa: BLE001 - PythonQt prints whatever is raised and goes on
            problems.reportException()
            return False

    return type(nativeClass.__name__, (nativeClass,), {"eventFilter": eventFilter})(*values)


@functools.cache
def _tabled(nativeClass: type) -> str:
    """Return the name of the class for which this one stands in, "" for Qt's own."""
    return next((each.__name__ for each in nativeClass.__mro__ if each.__name__ in table.classes), "")


def _hasProperty(native: Any, name: str) -> bool:
    known = _tabled(type(native))
    if known:
        wanted = table.isProperty(known, name)
        if wanted and native.metaObject().indexOfProperty(name) < 0:
            raise NotImplementedError(f"the stand-in of {known} has no {name} yet")
        return wanted
    # QTimer.singleShot is a static method in PythonQt, which hides the property.
    return name != "singleShot" and native.metaObject().indexOfProperty(name) >= 0


def _signal(native: Any, signature: str) -> Any:
    """Stand-ins that overload a signal say in `overloads` which attribute represents which signature."""
    known, (name, _, rest) = _tabled(type(native)), signature.partition("(")
    isOfQt = native.metaObject().indexOfSignal(signature) >= 0
    if not (table.isSignal(known, signature) if known else isOfQt):
        problems.report(f"no signal {signature} on {known or type(native).__name__}")
        return None
    bound = getattr(native, getattr(native, "overloads", {}).get(signature, name), None)
    if bound is None:
        raise NotImplementedError(f"the stand-in of {known} has no signal {signature} yet")
    try:
        return bound[rest.rstrip(")")] if rest != ")" and isOfQt else bound
    except (KeyError, IndexError, TypeError):
        return bound


def _guarded(slot: Callable[..., Any], count: int) -> Callable[..., None]:
    code = getattr(getattr(slot, "__func__", slot), "__code__", None)
    if code is not None and not code.co_flags & inspect.CO_VARARGS:
        count = min(count, code.co_argcount - (1 if inspect.ismethod(slot) else 0))

    def guarded(*values: Any) -> None:
        try:
            slot(*(wrap(value) for value in values[:count]))
        except Exception:  # noqa: BLE001 - PythonQt prints whatever is raised and goes on
            problems.reportException()

    return guarded


def _calling(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    if name == "deleteLater":
        return lambda: _deleteLater(method.__self__)  # type: ignore[attr-defined]

    @functools.wraps(method, assigned=(), updated=())
    def call(*values: Any) -> Any:
        assert not (name in {"setText", "setToolTip", "setPlainText"} and values[-1] is None), f"{name}(None)"
        if name == "singleShot":
            return method(values[0], _guarded(values[1], 0))
        result = method(*(unwrap(value) for value in values))
        return wrap(result[0] if name in _SINGLE_RESULT and isinstance(result, tuple) else result)

    return call


def _deleteLater(native: Any) -> None:
    """A whole panel is not deleted: PyQt5 does not notice all that Qt deletes, and crashes in a later test."""
    if isinstance(native, QtWidgets.QWidget) and native.parent() is None:
        native.hide()
        native.setProperty(LEFT_FOR_DEAD, True)
    else:
        native.deleteLater()


def proxyClass(nativeClass: type) -> type:
    """Return PythonQt's view of a Qt class."""
    if nativeClass not in _proxyClasses:
        _proxyClasses[nativeClass] = ProxyType(nativeClass.__name__, (Proxy,), {"nativeClass": nativeClass})
    return _proxyClasses[nativeClass]


class QtModule(types.ModuleType):
    """`qt`: all of Qt in one module."""

    def __getattr__(self, name: str) -> Any:
        if name == "QUiLoader":
            from harness.ui_file import QUiLoader

            return QUiLoader
        for module in (QtWidgets, QtGui, QtCore):
            value = getattr(module, name, None)
            if value is not None and not name.startswith("_") and name not in ABSENT:
                return proxyClass(value) if isinstance(value, type) and issubclass(value, QtCore.QObject) else value
        raise AttributeError(f"PythonQt's qt has no {name}")


class CustomModule(types.ModuleType):
    """`ctk`: those of its classes that have a stand-in."""

    def __getattr__(self, name: str) -> Any:
        if name not in nativeClasses:
            raise AttributeError(f"{self.__name__} has no {name} in the harness")
        return proxyClass(nativeClasses[name])


def standIn(cls: type) -> type:
    """Class decorator: stands in for the CTK or Slicer widget of the same name."""
    nativeClasses[cls.__name__] = cls
    return cls
