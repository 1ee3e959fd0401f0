"""Measures what a batch leaves of the facts that its lineage said before: EM and GA of a sample, before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement, RetainedMetrics
from editing.metrics.metric import mean_of
from editing.model.projection import Matrices
from editing.progress import ShouldStop
from store.lineage import fact_readings
from store.lineage.fact_readings import FactReadings
from store.lineage.questions import questions_of
from store.lineage.retained_sample import SampledFact, sample_in_force
from store.schema.tables import BatchRow
from workers.context import WorkerContext

RETAINED_METRICS: Final = ("EM", "GA")
"""What is read of earlier facts: it takes no other fields of a fact than those that every fact has."""

ValuesOfFact = Mapping[str, float]


@dataclass(frozen=True)
class Retained:
    """`metrics` is None where there was nothing to measure."""

    metrics: RetainedMetrics | None = None
    readings: Sequence[FactReadings] = ()


def earlier_facts(
    context: WorkerContext, batch: BatchRow, base: int, *, correcting: Collection[Fact] = ()
) -> list[SampledFact]:
    """The sample of the facts that version `base` says and the batch neither corrects nor takes out, seeded by it."""
    with context.database.reading() as session:
        return sample_in_force(
            session,
            batch.model,
            base,
            context.settings.retained_sample,
            batch.seq,
            without={(entry["edit"], index) for entry in batch.reverts or () for index in entry["facts"]},
            not_asking=questions_of(correcting),
            deleted_too=True,
        )


def measure_retained(
    context: WorkerContext,
    base: int,
    sample: Sequence[SampledFact],
    before: Matrices,
    after: Matrices,
    should_stop: ShouldStop,
) -> Retained:
    """`sample` at version `base`, whose matrices are `before`, and with the matrices `after`.

    What the check of `base` has read is not read again.
    """
    if not sample:
        return Retained()
    with context.database.reading() as session:
        known = fact_readings.at_version(session, context.name, base, [one.place for one in sample])
    complete = {place: values for place, values in known.items() if all(name in values for name in RETAINED_METRICS)}
    unread = [one for one in sample if one.place not in complete]
    read = dict(
        zip((one.place for one in unread), values_of_facts(context, before, _facts(unread), should_stop), strict=True)
    )
    was: list[ValuesOfFact] = [complete.get(one.place) or read[one.place] for one in sample]
    now = values_of_facts(context, after, _facts(sample), should_stop)
    return Retained(
        RetainedMetrics(before=_means(was), after=_means(now)),
        [
            FactReadings(one.place.edit, one.place.index, then, since)
            for one, then, since in zip(sample, was, now, strict=True)
        ],
    )


def values_of_facts(
    context: WorkerContext, matrices: Matrices, facts: Sequence[Fact], should_stop: ShouldStop
) -> list[ValuesOfFact]:
    """EM and GA of each fact, 1 or 0."""
    if not facts:
        return []
    (evaluation,) = context.measuring.evaluate_versions(
        [matrices], facts, RETAINED_METRICS, should_stop, whole_texts=False
    )
    return [kept_values(values) for values in evaluation.of_facts]


def kept_values(values: Mapping[str, float | None]) -> ValuesOfFact:
    """Of a fact's values by metric those that are kept."""
    return {name: value for name in RETAINED_METRICS if (value := values.get(name)) is not None}


def _facts(of: Sequence[SampledFact]) -> list[Fact]:
    return [Fact.model_validate(one.fact) for one in of]


def _means(of: Sequence[ValuesOfFact]) -> dict[str, Measurement]:
    return {name: mean_of(values[name] for values in of if name in values) for name in RETAINED_METRICS}
