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
    count = services.views.sliceCount(session.target.volume, session.axis)
    return slices_to_encode(session.range, count, session.painted)


def costText(services: Services) -> str:
    """Rich text: how long it takes, and in red what memory is short; "" while nothing is known."""
    session = services.session
    cost = cost_of(session.machine, session.settings, sliceCount(services))
    if cost is None:
        return ""
    lines = [] if cost.time is None else [escaped(translated(cost.time.text))]
    if cost.memory.is_problem:
        lines.append(colored(translated(cost.memory.text), PROBLEM_COLOR))
    return "<br>".join(lines)
