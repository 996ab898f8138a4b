"""Numbers as users read them."""

from __future__ import annotations

from FewShotSAMLib.widgets.translation import _

PROBLEM_COLOR = "#d9432f"  # red that reads on Slicer's light and dark background alike
WARNING_COLOR = "#c27800"


def formatBytes(count: int | None) -> str:
    """ "375 MB", "1.2 GB"; "?" where it is not known."""
    if count is None:
        return "?"
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB"


def formatSeconds(seconds: float) -> str:
    """ "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return _("{0} s").format(max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 60:
        return _("{0} min").format(minutes)
    return _("{0} h {1} min").format(minutes // 60, minutes % 60)


def colored(text: str, color: str) -> str:
    """Rich text in one colour; `text` is plain."""
    return f'<span style="color:{color}">{escaped(text)}</span>'


def escaped(text: str) -> str:
    """Plain text within rich text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
