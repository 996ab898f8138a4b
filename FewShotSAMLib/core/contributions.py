"""What few-shot models of earlier volumes contributed to a result, in words for every front end."""

from collections.abc import Mapping
from typing import Any

NOT_USED = "The few-shot model “{0}” was not used: {1}."
ADDED_NOTHING = "So much is painted here that few-shot models of earlier volumes added nothing."


def used_model_lines(training: Mapping[str, Any]) -> list[str]:
    """A sentence for each model that was used. training: the part of a job's report."""
    used = [model for model in training.get("models", ()) if model["used"]]
    if used and not training["assumed_slices"]:
        return [ADDED_NOTHING]
    return [_contribution(model) for model in used]


def unused_model_lines(training: Mapping[str, Any]) -> list[str]:
    """A sentence for each model that was not used, which the report has among its warnings, too."""
    return [NOT_USED.format(each["name"], each["why"]) for each in training.get("models", ()) if not each["used"]]


def _contribution(model: Mapping[str, Any]) -> str:
    agreement, weights = model["agreement"], model["weights"]
    share = {name: f" (weight {weight:.2f})" if weight < 1 else "" for name, weight in weights.items()}
    parts = [f"{name} {agreement[name]:.2f}{share[name]}" for name in weights]
    return f"The few-shot model “{model['name']}” was used; Dice with what is painted: {', '.join(parts)}."
