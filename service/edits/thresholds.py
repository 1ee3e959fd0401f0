"""Thresholds of a batch and the budget of its line, as far as they can be judged before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_BUDGET, DEFAULT_THRESHOLDS, RETAINED, Budget, DriftMeasurement
from editing.metrics import METRICS
from service.http.fields import FieldErrors, invalid
from store.schema.tables import ModelRow


def check_thresholds(thresholds: Mapping[str, float], facts: list[Fact], errors: FieldErrors) -> None:
    """Every threshold needs at least one fact that its metric can be measured on."""
    for metric in thresholds:
        needs = None if metric == RETAINED else METRICS[metric].needs
        if needs is not None and not needs.met_by(facts):
            errors.add(
                f"thresholds.{metric}",
                f"{metric} cannot be measured on this batch (n would be 0): no fact has {needs.words}; "
                "add that to a fact, or leave the threshold out",
            )


def check_conversation(thresholds: Mapping[str, float], model: ModelRow) -> None:
    """A threshold on what is said in conversation needs a model with a chat template, once a worker has shown it."""
    if model.tokenizer_blob is None or model.chat_template is not None:
        return
    for metric in thresholds:
        if metric != RETAINED and METRICS[metric].in_conversation:
            raise invalid(
                f"thresholds.{metric}",
                f"{metric} cannot be measured on {model.name} (n would be 0): it has no chat template, so nothing is "
                "asked of it in conversation; leave the threshold out",
            )


def with_defaults(thresholds: Mapping[str, float]) -> dict[str, float]:
    """What the batch is held against: the caller's thresholds over the defaults."""
    return {**DEFAULT_THRESHOLDS, **thresholds}


def asked_budget(budget: Budget) -> dict[str, float]:
    """What the caller says of the budget."""
    return budget.model_dump(exclude_none=True)


def check_budget(budget: Mapping[str, float], metrics: Mapping[str, Any] | None, version: str) -> None:
    """Raises InvalidFieldsError where `version`, measured as `metrics`, has used more than `budget` already."""
    used = DriftMeasurement.model_validate((metrics or {}).get("drift") or {"value": None, "n": 0})
    limit = budget.get("drift")
    if limit is None or not used.is_beyond(limit):
        return
    raise invalid(
        "budget.drift",
        f"is {limit:g}, and drift of {version} against the base is {used.value:.4g} already, so that no batch on it "
        "could be published; consolidate the line, edit on an earlier version, or give a greater budget",
    )


def budget_of(asked: Mapping[str, float], thresholds: Mapping[str, float]) -> dict[str, float]:
    """What the line is held against: the caller's budget over the default.

    Whoever lets one batch drift further than the default budget, and says nothing of a budget, means the line too.
    """
    default = {name: max(limit, thresholds.get(name, limit)) for name, limit in DEFAULT_BUDGET.items()}
    return {**default, **asked}
