"""Checking new weights beside the old, before anybody is served from them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement, RevertedMetrics
from editing.metrics import METRICS
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from store.schema.tables import BatchRow
from workers.context import WorkerContext

SAMPLE = 256
"""Facts on which the metrics are measured that are not measured on all."""
ON_SAMPLE = tuple(name for name, metric in METRICS.items() if metric.checked_on == "a sample")
SMALL_SAMPLE = 32
"""Facts on which those metrics are measured that have a model write answers: a token at a time, in several wordings."""
_MOST_PARAPHRASES = 2
ON_SMALL_SAMPLE = tuple(name for name, metric in METRICS.items() if metric.checked_on == "a small sample")
ON_EVERY_FACT = tuple(name for name, metric in METRICS.items() if metric.checked_on == "every fact")


@dataclass(frozen=True)
class Checked:
    """Measurements of the parent and of the edited weights, and in what the edit misses its thresholds."""

    before: dict[str, Measurement]
    after: dict[str, Measurement]
    drift: Measurement
    breaches: list[str]
    reverted: RevertedMetrics | None = None


def check_edit(
    context: WorkerContext,
    batch: BatchRow,
    facts: Sequence[Fact],
    parent: Matrices,
    matrices: Mapping[int, Tensor],
    should_stop: ShouldStop,
    on_progress: ProgressCallback,
) -> Checked:
    """Metrics on all facts or on a sample seeded by the batch, as the table has them; drift on held-out text.

    Before the edit the sample alone is measured.
    """
    broken = not_finite(matrices)
    if broken is not None:
        return broken
    asked = asked_for(batch.thresholds)
    chosen = sample(facts, batch.seq)
    measure = context.measuring.measure
    on_progress("checking", 0, 3)
    before = measure(parent, chosen, (*ON_SAMPLE, *ON_EVERY_FACT, *asked), should_stop)
    on_progress("checking", 1, 3)
    after = measure(matrices, chosen, (*ON_SAMPLE, *asked), should_stop)
    after |= measure(matrices, facts, ON_EVERY_FACT, should_stop)
    asked_aloud = small_sample(facts, batch.seq)
    before |= measure(parent, asked_aloud, ON_SMALL_SAMPLE, should_stop)
    after |= measure(matrices, asked_aloud, ON_SMALL_SAMPLE, should_stop)
    on_progress("checking", 2, 3)
    drift = measure(matrices, [], ("drift",), should_stop)["drift"]
    on_progress("checking", 3, 3)
    return Checked(before, after, drift, breaches(before, {**after, "drift": drift}, batch.thresholds))


def asked_for(thresholds: Mapping[str, float]) -> list[str]:
    """The metrics that no check measures unless a threshold is on them."""
    return [name for name in thresholds if METRICS[name].checked_on is None]


def not_finite(matrices: Matrices) -> Checked | None:
    """The end of the check where a weight is not finite, which nothing could be measured with; else None."""
    broken = [layer for layer, matrix in matrices.items() if not bool(torch.isfinite(matrix).all())]
    if not broken:
        return None
    nothing = Measurement(value=None, n=0)
    return Checked({}, {}, nothing, [f"layers {broken} would hold weights that are not finite"])


def sample(facts: Sequence[Fact], seed: int, most: int = SAMPLE) -> list[Fact]:
    """At most `most` facts in their order; the same for the same seed."""
    if len(facts) <= most:
        return list(facts)
    chosen = sorted(random.Random(seed).sample(range(len(facts)), most))
    return [facts[number] for number in chosen]


def small_sample(facts: Sequence[Fact], seed: int) -> list[Fact]:
    """The sample whose facts are answered aloud, each asked in few of its paraphrases."""
    return [
        fact.model_copy(update={"paraphrases": fact.paraphrases[:_MOST_PARAPHRASES]})
        for fact in sample(facts, seed, SMALL_SAMPLE)
    ]


def breaches(
    before: Mapping[str, Measurement], after: Mapping[str, Measurement], thresholds: Mapping[str, float]
) -> list[str]:
    """One line for each threshold that is missed. A metric that nothing could be measured for misses its threshold."""
    lines = (
        METRICS[name].breach(limit, before.get(name), after.get(name)) for name, limit in sorted(thresholds.items())
    )
    return [line for line in lines if line is not None]
