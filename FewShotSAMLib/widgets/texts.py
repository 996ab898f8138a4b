"""Rich text of the panel."""

from __future__ import annotations

PROBLEM_COLOR = "#d9432f"  # red that reads on Slicer's light and dark background alike
WARNING_COLOR = "#c27800"


def colored(text: str, color: str) -> str:
    """Rich text in one colour; `text` is plain."""
    return f'<span style="color:{color}">{escaped(text)}</span>'


def shortened(text: str, most: int) -> str:
    """At most `most` characters of a plain text, its middle left out where it is longer."""
    if len(text) <= most:
        return text
    head = most - 1 - most // 3
    return f"{text[:head].rstrip()}\N{HORIZONTAL ELLIPSIS}{text[-(most // 3) :].lstrip()}"


def escaped(text: str) -> str:
    """Plain text within rich text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
