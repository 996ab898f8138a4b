"""What a run will cost, as the panel shows it before the run starts."""

from __future__ import annotations

from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.texts import PROBLEM_COLOR, colored, escaped
from FewShotSAMLib.widgets.workflow_texts import translated
from FewShotSAMLib.workflow.cost import cost_of


def work(services: Services) -> Work | None:
    """What a run would have to do; None while that is not known."""
    session = services.session
    if session.target is None or session.axis is None:
        return None
    return session.work(services.views.sliceCount(session.target.volume, session.axis))


def costText(services: Services) -> str:
    """Rich text: how long it takes, and in red what memory is short; "" while nothing is known."""
    session = services.session
    cost = cost_of(session.machine, session.settings, work(services))
    if cost is None:
        return ""
    lines = [] if cost.time is None else [escaped(translated(cost.time.text))]
    if cost.memory.is_problem:
        lines.append(colored(translated(cost.memory.text), PROBLEM_COLOR))
    return "<br>".join(lines)
