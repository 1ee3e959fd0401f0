"""Checking new weights beside the old, before anybody is served from them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.metrics import DriftMeasurement, Measurement, RetainedMetrics, RevertedMetrics
from editing.metrics import METRICS
from editing.metrics.evaluation import Evaluation
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from editing.readings.observations import HeldOutReading
from store.lineage.fact_readings import FactReadings
from store.schema.tables import BatchRow
from workers.checking.drift import measure_drift
from workers.checking.limits import asked_for, breaches, limits_of, over_budget
from workers.checking.retained import earlier_facts, kept_values, measure_retained
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
    """Measurements of the parent and of the edited weights, in what the edit misses its thresholds, and how it would
    use up more than its lineage's budget. `readings` are of single facts, `held_out` that of the edited weights."""

    before: dict[str, Measurement]
    after: dict[str, Measurement]
    drift: DriftMeasurement
    breaches: list[str]
    reverted: RevertedMetrics | None = None
    retained: RetainedMetrics | None = None
    over_budget: str | None = None
    readings: Sequence[FactReadings] = ()
    held_out: HeldOutReading | None = None


def check_edit(
    context: WorkerContext,
    batch: BatchRow,
    facts: Sequence[Fact],
    base: int,
    parent: Matrices,
    matrices: Mapping[int, Tensor],
    should_stop: ShouldStop,
    on_progress: ProgressCallback,
) -> Checked:
    """Metrics on all facts or on a sample seeded by the batch, as the table has them; a sample of the facts that the
    parent, version `base`, says; drift on held-out text.

    Before the edit the samples alone are measured.
    """
    broken = not_finite(matrices)
    if broken is not None:
        return broken
    limits = limits_of(batch)
    asked = asked_for(limits.thresholds)
    numbers = sampled_numbers(len(facts), batch.seq)
    chosen = [facts[number] for number in numbers]
    measuring = context.measuring
    on_progress("checking", 0, 4)
    at_parent, of_sample = measuring.evaluate_versions(
        [parent, matrices], chosen, (*ON_SAMPLE, *ON_EVERY_FACT, *asked), should_stop
    )
    on_progress("checking", 1, 4)
    of_all = of_sample if len(chosen) == len(facts) else measuring.evaluate(matrices, facts, ON_EVERY_FACT, should_stop)
    aloud_before, aloud_after = measuring.measure_both(
        parent, matrices, small_sample(facts, batch.seq), ON_SMALL_SAMPLE, should_stop
    )
    on_progress("checking", 2, 4)
    earlier = earlier_facts(context, batch, base, correcting=facts)
    retained = measure_retained(context, base, earlier, parent, matrices, should_stop)
    on_progress("checking", 3, 4)
    measured = measure_drift(context, batch, base, parent, matrices, limits, should_stop)
    drift = measured.measurement
    on_progress("checking", 4, 4)
    before = at_parent.metrics | aloud_before
    after = of_sample.metrics | of_all.metrics | aloud_after
    return Checked(
        before,
        after,
        drift,
        breaches(before, {**after, "drift": of_change(drift)}, limits.thresholds, retained.metrics),
        retained=retained.metrics,
        over_budget=over_budget(drift, limits.budget),
        readings=[*_own_readings(batch, numbers, at_parent, of_sample, of_all), *retained.readings],
        held_out=measured.reading,
    )


def of_change(drift: DriftMeasurement) -> Measurement:
    """What a threshold on drift is held against."""
    return Measurement(value=drift.parent, n=drift.n)


def _own_readings(
    batch: BatchRow, numbers: Sequence[int], at_parent: Evaluation, of_sample: Evaluation, of_all: Evaluation
) -> list[FactReadings]:
    """Of the batch's own facts what was read of them anyway."""
    before = dict(zip(numbers, at_parent.of_facts, strict=True))
    sampled = dict(zip(numbers, of_sample.of_facts, strict=True))
    return [
        FactReadings(
            batch.id, number, kept_values(before.get(number, {})), kept_values({**sampled.get(number, {}), **values})
        )
        for number, values in enumerate(of_all.of_facts)
    ]


def not_finite(matrices: Matrices) -> Checked | None:
    """The end of the check where a weight is not finite, which nothing could be measured with; else None."""
    broken = [layer for layer, matrix in matrices.items() if not bool(torch.isfinite(matrix).all())]
    if not broken:
        return None
    nothing = DriftMeasurement(value=None, n=0)
    return Checked({}, {}, nothing, [f"layers {broken} would hold weights that are not finite"])


def sampled_numbers(count: int, seed: int, most: int = SAMPLE) -> list[int]:
    """At most `most` of the numbers below `count`, in their order; the same for the same seed."""
    if count <= most:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), most))


def sample(facts: Sequence[Fact], seed: int, most: int = SAMPLE) -> list[Fact]:
    """At most `most` facts in their order; the same for the same seed."""
    return [facts[number] for number in sampled_numbers(len(facts), seed, most)]


def small_sample(facts: Sequence[Fact], seed: int) -> list[Fact]:
    """The sample whose facts are answered aloud, each asked in few of its paraphrases."""
    return [
        fact.model_copy(update={"paraphrases": fact.paraphrases[:_MOST_PARAPHRASES]})
        for fact in sample(facts, seed, SMALL_SAMPLE)
    ]
