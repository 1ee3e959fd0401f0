"""Checks a consolidation: its facts and ordinary text, side by side with the version that it would replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.metrics import BatchWarning, DriftMeasurement, Measurement
from api_schemas.references import version_name
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from store.schema.tables import BatchRow
from workers.checking.limits import asked_for, breaches
from workers.context import WorkerContext
from workers.tasks.check import ON_EVERY_FACT, ON_SAMPLE, Checked, not_finite, sample

MOST_FORGOTTEN: Final = 0.02
"""How far EM may fall below that of the version where the caller sets no threshold."""
TOLD_DRIFT: Final = 0.02
"""Drift beyond that of the version by more than this is told as a warning."""
MOST_DRIFT: Final = 0.1
"""The same, where the consolidation is rejected unless the caller sets a threshold: no alias follows by itself."""
DRIFT_GREW: Final = "drift_grew"


def check_consolidation(
    context: WorkerContext,
    batch: BatchRow,
    facts: Sequence[Fact],
    before: Matrices,
    after: Mapping[int, Tensor],
    should_stop: ShouldStop,
    on_progress: ProgressCallback,
) -> Checked:
    """Every metric of a check of the version `before` and of the consolidation `after`, drift of both against the base.

    Before and after are measured on the same facts, unlike an edit's, since it is their difference that decides.
    """
    broken = not_finite(after)
    if broken is not None:
        return broken
    measure = context.measuring.measure
    chosen, sampled = sample(facts, batch.seq), (*ON_SAMPLE, *asked_for(batch.thresholds))
    measured: list[dict[str, Measurement]] = []
    for number, matrices in enumerate((before, after)):
        on_progress("checking", 2 * number, 4)
        found = measure(matrices, chosen, sampled, should_stop) | measure(matrices, facts, ON_EVERY_FACT, should_stop)
        on_progress("checking", 2 * number + 1, 4)
        measured.append(found | measure(matrices, [], ("drift",), should_stop))
    on_progress("checking", 4, 4)
    was, now = measured
    limits = {**_limits(was), **batch.thresholds}
    missed = breaches(was, now, limits)
    drift = now.pop("drift")
    return Checked(was, now, DriftMeasurement(value=drift.value, n=drift.n, parent=drift.value), missed)


def drift_warnings(checked: Checked, replaced: int) -> list[BatchWarning]:
    """Says where drift is more than a little above that of the version `replaced`."""
    was = checked.before["drift"].value if "drift" in checked.before else None
    now = checked.drift.value
    if was is None or now is None or now <= was + TOLD_DRIFT:
        return []
    detail = (
        f"drift is {now:.4g}, and {was:.4g} at {version_name(replaced)}: compare the two before an alias is moved; a "
        "larger mu, or fewer facts, would drift less"
    )
    return [BatchWarning(code=DRIFT_GREW, detail=detail, facts=[])]


def _limits(was: Mapping[str, Measurement]) -> dict[str, float]:
    limits = {}
    if was["EM"].value is not None:
        limits["EM"] = was["EM"].value - MOST_FORGOTTEN
    if was["drift"].value is not None:
        limits["drift"] = was["drift"].value + MOST_DRIFT
    return limits
