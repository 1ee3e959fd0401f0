"""Thresholds of a batch: one on a metric that nothing could be measured for would never be met, or never missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_THRESHOLDS, MetricName
from service.http.fields import FieldErrors


def _has_old(facts: list[Fact]) -> bool:
    return any(fact.target_old is not None for fact in facts)


def _has_paraphrases(facts: list[Fact]) -> bool:
    return any(fact.target_old is not None and fact.paraphrases for fact in facts)


def _has_neighbors(facts: list[Fact]) -> bool:
    return any(neighbor.target is not None for fact in facts for neighbor in fact.neighbors)


_NEEDS: Final[Mapping[MetricName, tuple[Callable[[list[Fact]], bool], str]]] = {
    "ES": (_has_old, "target_old"),
    "PS": (_has_paraphrases, "paraphrases and target_old"),
    "NS": (_has_neighbors, "neighbors with their target"),
    "S": (
        lambda facts: _has_old(facts) and _has_paraphrases(facts) and _has_neighbors(facts),
        "target_old, paraphrases and neighbors",
    ),
}


def check_thresholds(thresholds: Mapping[MetricName, float], facts: list[Fact], errors: FieldErrors) -> None:
    """Every threshold needs at least one fact that its metric can be measured on."""
    for metric in thresholds:
        if metric in _NEEDS:
            measurable, needed = _NEEDS[metric]
            if not measurable(facts):
                errors.add(
                    f"thresholds.{metric}",
                    f"{metric} cannot be measured on this batch (n would be 0): no fact has {needed}; "
                    "add that to a fact, or leave the threshold out",
                )


def with_defaults(thresholds: Mapping[MetricName, float]) -> dict[str, float]:
    """What the batch is held against: the caller's thresholds over the defaults."""
    return {str(metric): limit for metric, limit in {**DEFAULT_THRESHOLDS, **thresholds}.items()}
