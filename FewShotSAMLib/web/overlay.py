"""What lies over a view: its name, its slice with a slider, and the sides of the patient."""

from __future__ import annotations

# Which sides of the patient are left, right, up and down on the screen, as radiologists hang slices.
_SIDES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
_PLACES = ("left", "right", "top", "bottom")


def slice_overlay(plane: str) -> str:
    """The overlay of a slice view as a template; `at_<plane>` and `last_<plane>` are its slice and the last one."""
    sides = "".join(f'<b class="side {place}">{side}</b>' for side, place in zip(_SIDES[plane], _PLACES, strict=True))
    return (
        f'<div class="overlay {plane}" data-view="{plane}">'
        f'<span class="view-name">{plane.capitalize()}</span>'
        f'<span class="view-slice" id="slice_{plane}">{{{{ at_{plane} }}}} / {{{{ last_{plane} }}}}</span>'
        f"{sides}</div>"
        f'<input type="range" class="view-slider {plane}" id="slider_{plane}" min="0" :max="last_{plane}" '
        f""":value="at_{plane}" @input="trigger('jump', ['{plane}', Number($event.target.value)])" title="Slice">"""
        f"""<button class="enlarge small" @click="trigger('enlarge', ['{plane}'])" """
        """:title="layout === 'four' ? 'This view large' : 'All four views'">"""
        """{{ layout === 'four' ? '⤢' : '⊞' }}</button>"""
    )


def volume_overlay() -> str:
    """The overlay of the view in 3D."""
    return (
        '<div class="overlay in3d" data-view="in3d"><span class="view-name">3D</span></div>'
        '<div class="view-buttons">'
        """<button class="small" :class="{ on: show_3d }" id="b_3d" @click="trigger('toggle_3d')" """
        'title="Make the surfaces of all segments, or drop them">Surfaces {{ show_3d ? "on" : "off" }}</button>'
        """<button class="small" @click="trigger('reset_3d')" title="Show all surfaces">Fit</button></div>"""
    )
