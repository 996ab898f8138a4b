"""Numbers as users read them."""

from __future__ import annotations


def format_bytes(count: int | None) -> str:
    """ "375 MB", "1.2 GB"; "?" where it is not known."""
    if count is None:
        return "?"
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB"


def format_seconds(seconds: float) -> str:
    """ "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
