"""The page: the panel next to the views, as a template that the browser fills in from the server's state."""

from __future__ import annotations

from pathlib import Path

from trame.ui.html import DivLayout
from trame.widgets import html
from trame_server import Server

from FewShotSAMLib.web.contents import FIRST_STATE
from FewShotSAMLib.web.controls import ACTIONS, help_lines
from FewShotSAMLib.web.views import Views

STATIC = Path(__file__).parent / "static"
_ROUTE = "fewshotsam"
_VIEWS_HERE = "<!-- views -->"
TITLE = "FewShotSAM"


def build_page(server: Server, views: Views) -> DivLayout:
    """Build the page; the caller must keep a reference to it for as long as the server runs."""
    server.state.update({**FIRST_STATE, "trame__title": TITLE, "key_chords": list(ACTIONS), "keys": help_lines()})
    server.enable_module(
        {"serve": {_ROUTE: str(STATIC)}, "styles": [f"{_ROUTE}/style.css"], "scripts": [f"{_ROUTE}/page.js"]}
    )
    before, _, after = (STATIC / "panel.html").read_text(encoding="utf-8").partition(_VIEWS_HERE)
    with DivLayout(server) as page, html.Div(classes="app"):
        html.Div(before, classes="contents")
        with html.Main(classes="views"):
            views.layout.initialize_layout_grid(page)
        html.Div(after, classes="contents")
    return page
