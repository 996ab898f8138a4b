"""The line below the chosen volume: what was understood of it. All of it is in the tool tip."""

from __future__ import annotations

from typing import Any

from FewShotSAMLib.core.facts import facts_rows, facts_sentence
from FewShotSAMLib.widgets.display import escaped
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.workflow_texts import factWords
from FewShotSAMLib.workflow.facts import InputFacts

_INFORMATION = "\N{INFORMATION SOURCE}"  # which DejaVu has, too; the letter in a circle is in few fonts of Linux
_WARNING = "\N{WARNING SIGN}"


class FactsLine:
    """Shows what `fewshotsam inspect` says of a file; nothing while no volume is chosen, or it is still looked at."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._label = ui.factsLabel
        self._services = services
        self._facts = InputFacts(services.scene)
        self._shown = ""

    def update(self) -> None:
        """Show what is known now."""
        session = self._services.session
        facts = self._facts.look(session.target, session.found)
        if facts is None:
            self._show("", "")
            return
        _label, sentence = factWords(facts_sentence(facts))
        rows = "".join(
            f"<tr><td>{escaped(label)}:&nbsp;</td><td>{escaped(text)}</td></tr>"
            for label, text in map(factWords, facts_rows(facts))
        )
        mark = _WARNING if facts["warnings"] else _INFORMATION
        self._show(f"{mark} {sentence}", f"<b>{escaped(facts['name'])}</b><table>{rows}</table>")

    def tick(self) -> None:
        """Facts come some time after the volume was chosen, and nobody else tells of them."""
        if self._facts.poll():
            self.update()

    def _show(self, text: str, toolTip: str) -> None:
        if text + toolTip != self._shown:
            self._shown = text + toolTip
            self._label.setText(text)
            self._label.setToolTip(toolTip)
