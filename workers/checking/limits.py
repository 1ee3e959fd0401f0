"""What a checked batch is held against: thresholds on what it changes, and the budget of its lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api_schemas.metrics import RETAINED, DriftMeasurement, Measurement, RetainedMetrics
from editing.metrics import METRICS
from store.schema.tables import BatchRow


@dataclass(frozen=True)
class Limits:
    """`thresholds` are on what a batch changes (drift: against its parent), `budget` on its line (against the base)."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)


def limits_of(batch: BatchRow) -> Limits:
    """A batch that was accepted before there were budgets meant by its drift threshold drift against the base: that is
    its budget, and nothing else is asked of it."""
    if batch.budget is not None:
        return Limits(dict(batch.thresholds), dict(batch.budget))
    drift = batch.thresholds.get("drift")
    thresholds = {name: limit for name, limit in batch.thresholds.items() if name != "drift"}
    return Limits(thresholds, {} if drift is None else {"drift": drift})


def asked_for(thresholds: Mapping[str, float]) -> list[str]:
    """The metrics that no check measures unless a threshold is on them."""
    return [name for name in thresholds if name != RETAINED and METRICS[name].checked_on is None]


def breaches(
    before: Mapping[str, Measurement],
    after: Mapping[str, Measurement],
    thresholds: Mapping[str, float],
    retained: RetainedMetrics | None = None,
) -> list[str]:
    """One line for each threshold that is missed. A metric that nothing could be measured for misses its threshold.

    Where the lineage has no earlier facts in force, none can be lost.
    """
    lines = [
        retained_breach(retained, limit)
        if name == RETAINED
        else METRICS[name].breach(limit, before.get(name), after.get(name))
        for name, limit in sorted(thresholds.items())
    ]
    return [line for line in lines if line is not None]


def retained_breach(retained: RetainedMetrics | None, limit: float) -> str | None:
    """EM of the earlier facts fell by more than `limit`. One fact alone is no fall, unless none may be lost (0)."""
    if retained is None:
        return None
    was, now = retained.before["EM"], retained.after["EM"]
    if was.value is None or now.value is None:
        return f"EM of earlier facts could not be measured, but a threshold of {limit:g} is set on its fall"
    fall = was.value - now.value
    if fall <= limit or (limit > 0 and round(fall * now.n) <= 1):
        return None
    moved = f"EM of {now.n} earlier facts fell from {was.value:.4g} to {now.value:.4g}"
    return f"{moved}, a fall of {fall:.4g}, above its threshold {limit:g}"


def over_budget(drift: DriftMeasurement, budget: Mapping[str, float]) -> str | None:
    """How a lineage would use up more than its budget; None where it would not."""
    limit = budget.get("drift")
    if limit is None or drift.value is None or drift.value <= limit:
        return None
    return f"drift against the base is {drift.value:.4g}, above the lineage's budget of {limit:g}"
