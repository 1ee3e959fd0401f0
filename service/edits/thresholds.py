"""Thresholds of a batch: one on a metric that nothing could be measured for would never be met, or never missed."""

from __future__ import annotations

from collections.abc import Mapping

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_THRESHOLDS
from editing.metrics import METRICS
from service.http.fields import FieldErrors, invalid
from store.schema.tables import ModelRow


def check_thresholds(thresholds: Mapping[str, float], facts: list[Fact], errors: FieldErrors) -> None:
    """Every threshold needs at least one fact that its metric can be measured on."""
    for metric in thresholds:
        needs = METRICS[metric].needs
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
        if METRICS[metric].in_conversation:
            raise invalid(
                f"thresholds.{metric}",
                f"{metric} cannot be measured on {model.name} (n would be 0): it has no chat template, so nothing is "
                "asked of it in conversation; leave the threshold out",
            )


def with_defaults(thresholds: Mapping[str, float]) -> dict[str, float]:
    """What the batch is held against: the caller's thresholds over the defaults."""
    return {**DEFAULT_THRESHOLDS, **thresholds}
