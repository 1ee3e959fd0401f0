"""Checks a revert: scores of the facts that stay, scores of those that left, and drift, against thresholds."""

from __future__ import annotations

from collections.abc import Sequence

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_BUDGET, DEFAULT_THRESHOLDS, RETAINED, Measurement, RevertedMetrics
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from store.schema.tables import BatchRow
from workers.checking.drift import measure_drift
from workers.checking.limits import Limits, asked_for, breaches, limits_of, over_budget
from workers.checking.retained import earlier_facts, measure_retained
from workers.context import WorkerContext
from workers.tasks.check import (
    ON_EVERY_FACT,
    ON_SAMPLE,
    ON_SMALL_SAMPLE,
    Checked,
    not_finite,
    of_change,
    sample,
    small_sample,
)

MOST_FORGOTTEN = 0.1
"""How far EM of the facts that stay may fall where the caller sets no threshold."""
MOST_DRIFT = 1.05
"""How far drift may grow, as a factor, where it was beyond the default budget already."""


def check_revert(
    context: WorkerContext,
    batch: BatchRow,
    staying: Sequence[Fact],
    reverted: RevertedMetrics,
    base: int,
    before: Matrices,
    after: Matrices,
    drift_before: float | None,
    should_stop: ShouldStop,
    on_progress: ProgressCallback,
) -> Checked:
    """Metrics on all facts that stay in the edits that change, or on a sample of them; on a sample of all facts that
    the parent, version `base`, says and the revert does not take out; drift on held-out text.

    `reverted` was measured already, on the facts that leave.
    """
    broken = not_finite(after)
    if broken is not None:
        return broken
    asked = limits_of(batch)
    sampled = (*ON_SAMPLE, *asked_for(asked.thresholds))
    measuring = context.measuring
    on_progress("checking", 0, 3)
    chosen = sample(staying, batch.seq)
    was: dict[str, Measurement] = {}
    now: dict[str, Measurement] = {}
    if staying:
        for of, metrics in (
            (chosen, sampled),
            (staying, ON_EVERY_FACT),
            (small_sample(staying, batch.seq), ON_SMALL_SAMPLE),
        ):
            was_now = measuring.measure_both(before, after, of, metrics, should_stop)
            was, now = was | was_now[0], now | was_now[1]
    on_progress("checking", 1, 3)
    retained = measure_retained(context, base, earlier_facts(context, batch, base), before, after, should_stop)
    on_progress("checking", 2, 3)
    limits = _limits(batch, was, drift_before)
    measured = measure_drift(context, batch, base, before, after, limits, should_stop)
    drift = measured.measurement
    on_progress("checking", 3, 3)
    thresholds = limits.thresholds
    if not staying:  # there is nothing that a score could be held against
        thresholds = {name: limit for name, limit in thresholds.items() if name in ("drift", RETAINED)}
    return Checked(
        was,
        now,
        drift,
        breaches(was, {**now, "drift": of_change(drift)}, thresholds, retained.metrics),
        reverted,
        retained=retained.metrics,
        over_budget=over_budget(drift, limits.budget),
        readings=retained.readings,
        held_out=measured.reading,
    )


def _limits(batch: BatchRow, was: dict[str, Measurement], drift_before: float | None) -> Limits:
    """The caller's over the defaults. A line that is beyond its budget can still lose facts.

    A revert that was accepted before there were budgets knew no thresholds on what it changes but EM's.
    """
    asked = limits_of(batch)
    defaults = () if batch.budget is None else ("drift", RETAINED)
    thresholds = {name: DEFAULT_THRESHOLDS[name] for name in defaults}
    if was and was["EM"].value is not None:
        thresholds["EM"] = was["EM"].value - MOST_FORGOTTEN
    budget = {"drift": max(DEFAULT_BUDGET["drift"], MOST_DRIFT * (drift_before or 0.0))}
    return Limits({**thresholds, **asked.thresholds}, {**budget, **asked.budget})
