"""Compares methods on labelled volumes: all get the same painted slices and are scored on the same other slices."""

from FewShotSAMLib.benchmark.methods import METHODS, Contender, get_methods
from FewShotSAMLib.benchmark.outcome import MethodSettings, Outcome
from FewShotSAMLib.benchmark.plan import Plan, make_plan
from FewShotSAMLib.benchmark.protocol import Painting, Scores, choose_slices, paint, score
from FewShotSAMLib.benchmark.results import write_results
from FewShotSAMLib.benchmark.rows import RowFile
from FewShotSAMLib.benchmark.runner import run_plan
from FewShotSAMLib.benchmark.tasks import Task, read_tasks

__all__ = [
    "METHODS",
    "Contender",
    "MethodSettings",
    "Outcome",
    "Painting",
    "Plan",
    "RowFile",
    "Scores",
    "Task",
    "choose_slices",
    "get_methods",
    "make_plan",
    "paint",
    "read_tasks",
    "run_plan",
    "score",
    "write_results",
]
