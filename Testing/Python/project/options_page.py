"""Writes docs/options.md from the table of options: `python Testing/Python/project/options_page.py`."""

from pathlib import Path

from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.options import APPLY, BROWSER, COHORT, FLAG, OPTIONS, PANEL, PROPAGATE, Option, encoder_names

PAGE = Path(__file__).resolve().parents[3] / "docs" / "options.md"
HEAD = """# Options

Made from `FewShotSAMLib/options.py`, which the command line, the panel, the browser app and the checks of every request
read. On the command line an option is called `--like-this`, in a request to the background process `like_this`.
"*" : must be given.

| Option | Values | Default | `propagate` | `apply` | `cohort` | Panel | Browser | What it does |
|---|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    rows = "".join(_row(each) for each in OPTIONS)
    methods = "".join(f"| `{each.name}` | {each.title} |\n" for each in METHODS)
    return f"{HEAD}{rows}\n## Methods\n\n| Name | Method |\n|---|---|\n{methods}"


def _row(option: Option) -> str:
    star = "*" if option.is_required else ""
    commands = (command in option.commands for command in (PROPAGATE, APPLY, COHORT))
    places = (*commands, PANEL in option.shown, BROWSER in option.shown)
    values = f"one of {', '.join(encoder_names())}" if option.name == "encoder" else option.words
    default = "off" if option.kind is FLAG else "" if option.default is None else f"`{option.default}`"
    marks = (" yes " if place else " " for place in places)
    return f"| `{option.name}`{star} | {values} | {default} |{'|'.join(marks)}| {option.help} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
