"""Controls of the page: keys, the size of the brush, and the overlays of the views."""

from __future__ import annotations

from dataclasses import dataclass

from FewShotSAMLib.core.geometry import Geometry


@dataclass(frozen=True)
class Key:
    """chord: as the page names it (`event.key` in lower case, after "ctrl+" if held); label: as users read it."""

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


BRUSH_PLACES = 100
FIRST_BRUSH_PLACE = 55
BRUSH_STEP = 5
"""How many places one key press moves the slider."""


@dataclass(frozen=True)
class BrushScale:
    """Diameters in mm at both ends of the slider: from one voxel to a quarter of the slice, in geometric steps, which
    look equal."""

    smallest: float
    largest: float

    @classmethod
    def of(cls, geometry: Geometry) -> BrushScale:
        """The scale for a volume."""
        extent = sorted(length * spacing for length, spacing in zip(geometry.size, geometry.spacing, strict=True))
        smallest = min(geometry.spacing)
        return cls(smallest, max(extent[1] / 4, 2 * smallest))

    def diameter(self, place: float) -> float:
        """Diameter in mm at a place, 0 to BRUSH_PLACES; a place beyond an end counts as that end."""
        share = min(max(place, 0), BRUSH_PLACES) / BRUSH_PLACES
        return float(self.smallest * (self.largest / self.smallest) ** share)


def shown(diameter: float) -> float:
    """A diameter in mm, rounded for display."""
    return round(diameter, 1) if diameter < 10 else round(diameter)


# Which sides of the patient are left, right, up and down on the screen, as radiologists hang slices.
_SIDES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
_EDGES = ("left", "right", "top", "bottom")


def slice_overlay(plane: str) -> str:
    """The overlay of a slice view as a template; `at_<plane>` and `last_<plane>` are its slice and the last one."""
    sides = "".join(f'<b class="side {place}">{side}</b>' for side, place in zip(_SIDES[plane], _EDGES, strict=True))
    return (
        f'<div class="overlay {plane}" data-view="{plane}">'
        f'<span class="view-name">{plane.capitalize()}</span>'
        f'<span class="view-slice" id="slice_{plane}">{{{{ at_{plane} }}}} / {{{{ last_{plane} }}}}</span>'
        f"{sides}</div>"
        f'<input type="range" class="view-slider {plane}" id="slider_{plane}" min="0" :max="last_{plane}" '
        f""":value="at_{plane}" @input="trigger('jump', ['{plane}', Number($event.target.value)])" title="Slice">"""
        f"""<button class="enlarge small" @click="trigger('enlarge', ['{plane}'])" """
        """:title="layout === 'four' ? 'Enlarge this view' : 'Show all four views'">"""
        """{{ layout === 'four' ? '⤢' : '⊞' }}</button>"""
    )


def volume_overlay() -> str:
    """The overlay of the 3D view."""
    return (
        '<div class="overlay in3d" data-view="in3d"><span class="view-name">3D</span></div>'
        '<div class="view-buttons">'
        """<button class="small" :class="{ on: show_3d }" id="b_3d" @click="trigger('toggle_3d')" """
        'title="Show or hide the surfaces of all segments">Surfaces {{ show_3d ? "on" : "off" }}</button>'
        """<button class="small" @click="trigger('reset_3d')" title="Show all surfaces">Fit</button></div>"""
    )
