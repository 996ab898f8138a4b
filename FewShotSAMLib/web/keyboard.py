"""What the keys do, for the page that listens to them and for the list that explains them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """chord: as the page names it (`event.key` in lower case, with "ctrl+" before it); label: as users read it."""

    chord: str
    action: str
    label: str
    does: str


KEYS = (
    Key("arrowup", "slice_up", "↑ →", "next slice of the view under the pointer"),
    Key("arrowright", "slice_up", "", ""),
    Key("arrowdown", "slice_down", "↓ ←", "previous slice"),
    Key("arrowleft", "slice_down", "", ""),
    Key("p", "paint", "P", "paint"),
    Key("e", "erase", "E", "erase"),
    Key("w", "window", "W", "window and level"),
    Key("escape", "no_tool", "Esc", "no tool"),
    Key("[", "brush_smaller", "[", "smaller brush"),
    Key("]", "brush_larger", "]", "larger brush"),
    Key(" ", "propagate", "Space", "propagate"),
    Key("n", "next_slice", "N", "next slice to paint"),
    Key("ctrl+z", "undo", "Ctrl Z", "undo"),
    Key("ctrl+y", "redo", "Ctrl Y", "redo"),
    Key("ctrl+shift+z", "redo", "", ""),
)

ACTIONS = {key.chord: key.action for key in KEYS}


def help_lines() -> list[dict[str, str]]:
    """The keys with what they do, for the page."""
    return [{"keys": key.label, "does": key.does} for key in KEYS if key.label]
