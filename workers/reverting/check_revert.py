"""Checks a revert: scores of the facts that stay, scores of those that left, and drift, against thresholds."""

from __future__ import annotations

from collections.abc import Sequence

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_THRESHOLDS, Measurement, RevertedMetrics
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from store.schema.tables import BatchRow
from workers.context import WorkerContext
from workers.tasks.check import (
    ON_EVERY_FACT,
    ON_SAMPLE,
    ON_SMALL_SAMPLE,
    Checked,
    asked_for,
    breaches,
    not_finite,
    sample,
    small_sample,
)

MOST_FORGOTTEN = 0.1
"""How far EM of the facts that stay may fall where the caller sets no threshold."""
MOST_DRIFT = 1.05
"""How far drift may grow, as a factor, where it was beyond the default threshold already."""


def check_revert(
    context: WorkerContext,
    batch: BatchRow,
    staying: Sequence[Fact],
    reverted: RevertedMetrics,
    before: Matrices,
    after: Matrices,
    drift_before: float | None,
    should_stop: ShouldStop,
    on_progress: ProgressCallback,
) -> Checked:
    """Metrics on all facts that stay in the edits that change, or on a sample of them; drift on held-out text.

    `reverted` was measured already, on the facts that leave.
    """
    broken = not_finite(after)
    if broken is not None:
        return broken
    sampled = (*ON_SAMPLE, *asked_for(batch.thresholds))
    measure = context.measuring.measure
    on_progress("checking", 0, 2)
    chosen = sample(staying, batch.seq)
    was: dict[str, Measurement] = {}
    now: dict[str, Measurement] = {}
    if staying:
        was = measure(before, chosen, sampled, should_stop) | measure(before, staying, ON_EVERY_FACT, should_stop)
        now = measure(after, chosen, sampled, should_stop) | measure(after, staying, ON_EVERY_FACT, should_stop)
        asked_aloud = small_sample(staying, batch.seq)
        was |= measure(before, asked_aloud, ON_SMALL_SAMPLE, should_stop)
        now |= measure(after, asked_aloud, ON_SMALL_SAMPLE, should_stop)
    on_progress("checking", 1, 2)
    drift = measure(after, [], ("drift",), should_stop)["drift"]
    on_progress("checking", 2, 2)
    limits = {**_limits(was, drift_before), **batch.thresholds}
    if not staying:  # there is nothing that a score could be held against
        limits = {"drift": limits["drift"]}
    return Checked(was, now, drift, breaches(was, {**now, "drift": drift}, limits), reverted)


def _limits(was: dict[str, Measurement], drift_before: float | None) -> dict[str, float]:
    limits = {"drift": max(DEFAULT_THRESHOLDS["drift"], MOST_DRIFT * (drift_before or 0.0))}
    if was and was["EM"].value is not None:
        limits["EM"] = was["EM"].value - MOST_FORGOTTEN
    return limits
