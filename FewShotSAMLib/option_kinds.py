"""The kinds of values that options have: how to check them and parse them from text. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AUTO = "auto"
LARGEST_INTEGER = 2**63 - 1
MAX_LISTED_SLICES = 100_000
FLAG_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
LONGEST_TEXT = 300


@dataclass(frozen=True)
class Kind:
    """A kind of value. check: returns the value as jobs use it; raises TypeError for any other. read: parses what was
    typed or is in a table's cell into the value for a request; raises ValueError."""

    words: str
    check: Callable[[Any], Any]
    read: Callable[[str], Any] = str


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise TypeError("a path")
    return Path(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number")
    try:
        return float(value)
    except OverflowError as error:
        raise TypeError("a number") from error


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number")
    if abs(value) > LARGEST_INTEGER:
        raise TypeError(f"a whole number up to {LARGEST_INTEGER}")
    return value


def _list_of(item: Callable[[Any], Any], words: str) -> Callable[[Any], tuple[Any, ...]]:
    """A check of lists that applies `item` to each element."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(words)
        try:
            return tuple(item(each) for each in value)
        except TypeError as error:
            raise TypeError(words) from error

    return check


_integers = _list_of(_integer, "a list of whole numbers")


def _slices_of(value: Any) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError("slice numbers by the name of their segment")
    return {name: _integers(indices) for name, indices in value.items()}


def _pair(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError("two whole numbers, first and last")
    return _integer(value[0]), _integer(value[1])


def _axis(value: Any) -> int | None:
    if value == AUTO:
        return None
    if str(value) not in ("0", "1", "2"):
        raise TypeError("auto, 0, 1 or 2")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"a text of at most {LONGEST_TEXT} characters")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def read_slices(text: str) -> list[int]:
    """Parse a list such as `3,40` or `10-12,20` into slice numbers, ascending, each once. Raises ValueError."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first > MAX_LISTED_SLICES:
            raise ValueError(f"“{text}” is not a list of slice numbers such as 3,40 or 10-12")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def _read_paths(text: str) -> list[str]:
    """Parse paths separated by `;`."""
    return [part.strip() for part in text.split(";") if part.strip()]


def _read_slices_of(text: str) -> dict[str, list[int]]:
    """Parse a text such as `Spleen=3,40`, several separated by `;`, into slice numbers by segment name."""
    found: dict[str, list[int]] = {}
    for part in text.split(";"):
        name, _, numbers = part.rpartition("=")
        if not name.strip():
            raise ValueError(f"“{text}” names no segment")
        found[name.strip()] = read_slices(numbers)
    return found


def _read_range(text: str) -> list[int]:
    match = re.fullmatch(r"\s*(\d{1,9})\s*[,:-]\s*(\d{1,9})\s*", text)
    if not match or int(match[1]) > int(match[2]):
        raise ValueError(f"“{text}” is not a range of slices such as 10,80")
    return [int(match[1]), int(match[2])]


def _read_axis(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _read_flag(text: str) -> bool:
    """Parse yes or no as tables hold it: Excel writes TRUE."""
    if text.lower() not in FLAG_WORDS:
        raise ValueError(f"“{text}” is neither yes nor no")
    return FLAG_WORDS[text.lower()]


PATH, TEXT, FLAG = Kind("a path", _path), Kind("a text", _text), Kind("true or false", _flag, _read_flag)
PATHS = Kind("paths", _list_of(_path, "a list of paths"), _read_paths)
INTEGER, NUMBER = Kind("a whole number", _integer, int), Kind("a number", _number, float)
SLICES = Kind("a list of slice numbers such as 3,40 or 10-12", _integers, read_slices)
SLICES_OF = Kind("a segment and slice numbers, such as Spleen=3,40", _slices_of, _read_slices_of)
RANGE, AXIS = Kind("a range of slices such as 10,80", _pair, _read_range), Kind("an axis", _axis, _read_axis)
