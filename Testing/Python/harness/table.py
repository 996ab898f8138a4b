"""The members of Slicer's and CTK's real classes, read from their headers. Functions are in `signatures`.

`facts/*.json` say at which commits they were read. Kinds of members: "properties" (those of "readonly" cannot be
set), "slots", "invokables", "signals" and "decorated" (a PythonQt decorator of Slicer) are what Python has; "plain" are
public methods of C++ that PythonQt does not have. "since" and "until" are the first and the last Slicer version read
that has a member. Where an older version lacks something, it does not exist here.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from harness.binding import QtCore, QtGui, QtWidgets

_FACTS = Path(__file__).parent / "facts"
_CALLABLE = ("slots", "invokables", "decorated")


classes: dict[str, dict[str, Any]] = {
    name: entry
    for library in ("ctk", "qmrml", "slicer")
    for name, entry in json.loads((_FACTS / f"{library}.json").read_text(encoding="utf-8"))["classes"].items()
}


def chain(className: str) -> list[dict[str, Any]]:
    """Return the class and its base classes, except Qt's."""
    found = []
    while className in classes:
        found.append(classes[className])
        className = classes[className]["base"]
    return found


@cache
def qtBase(className: str) -> Any:
    """Return the Qt class from which a class is derived."""
    name = chain(className)[-1]["base"]
    return next(getattr(module, name) for module in (QtWidgets, QtGui, QtCore) if hasattr(module, name))


@cache
def _ofQt(className: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of its Qt class's properties, and the signatures of its signals.

    Asked once: PySide6 drops a class's metaobject, and with it an answer, when the last object of a class is deleted.
    """
    meta = qtBase(className).staticMetaObject
    methods = [meta.method(number) for number in range(meta.methodCount())]
    signals = [each for each in methods if each.methodType() == QtCore.QMetaMethod.MethodType.Signal]
    properties = frozenset(meta.property(number).name() for number in range(meta.propertyCount()))
    return properties, frozenset(bytes(each.methodSignature()).decode() for each in signals)


def isProperty(className: str, name: str) -> bool:
    """Whether it is a property, of the class or of Qt's."""
    own = any(name in entry.get("properties", ()) and _isEverywhere(entry, name) for entry in chain(className))
    return own or name in _ofQt(className)[0]


def isReadOnly(className: str, name: str) -> bool:
    """Whether a property cannot be set."""
    owner = next((entry for entry in chain(className) if name in entry.get("properties", ())), None)
    return owner is not None and name in owner.get("readonly", ())


def isCallable(className: str, name: str) -> bool:
    """Whether Python can call a method of this name. PythonQt has all public methods of Qt's own classes."""
    for entry in chain(className):
        if any(name in entry.get(kind, ()) for kind in _CALLABLE) and _isEverywhere(entry, name):
            return True
    return callable(getattr(qtBase(className), name, None))


def isEnumerator(className: str, name: str) -> bool:
    """Whether it is a constant of the class or of Qt's."""
    return any(name in entry.get("enumerators", ()) for entry in chain(className)) or hasattr(qtBase(className), name)


def isSignal(className: str, signature: str) -> bool:
    """Whether there is a signal with exactly these arguments, such as "currentNodeIDChanged(QString)"."""
    own = any(signature in entry.get("signals", ()) and _isEverywhere(entry, signature) for entry in chain(className))
    return own or signature in _ofQt(className)[1]


def whyNot(className: str, name: str) -> str:
    """Say what is wrong with a member that Python does not have."""
    for entry in chain(className):
        if name in entry.get("plain", ()):
            return f"{className}.{name} is a plain method of C++ ({entry['header']}), which PythonQt does not have"
        if not _isEverywhere(entry, name):
            return f"{className}.{name} is not in every supported Slicer ({entry['header']})"
    return f"{className} has no {name}"


def _isEverywhere(entry: dict[str, Any], name: str) -> bool:
    return name not in entry.get("since", ()) and name not in entry.get("until", ())
