"""What a run will cost, as the panel shows it before the run starts."""

from __future__ import annotations

from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.texts import PROBLEM_COLOR, colored, escaped
from FewShotSAMLib.widgets.workflow_texts import translated
from FewShotSAMLib.workflow.cost import cost_of, slices_to_encode


def sliceCount(services: Services) -> int:
    """How many slices the encoder has to see; 0 while that is not known."""
    session = services.session
    if session.target is None or session.axis is None:
        return 0
    return slices_to_encode(session.range, services.views.sliceCount(session.target.volume, session.axis))


def costText(services: Services) -> str:
    """Rich text: red where the processor alone computes, or where memory is short; "" while nothing is known."""
    session = services.session
    cost = cost_of(session.machine, session.settings, sliceCount(services))
    lines = [] if cost is None else [line for line in (cost.time, cost.memory) if line is not None]
    return "<br>".join(
        colored(translated(each.text), PROBLEM_COLOR) if each.is_problem else escaped(translated(each.text))
        for each in lines
    )
