"""Drift of a checked version against the base and against its parent."""

from __future__ import annotations

from api_schemas.metrics import DriftMeasurement, Measurement
from editing.model.projection import Matrices
from editing.progress import ShouldStop
from store.schema.tables import BatchRow, VersionRow
from workers.context import WorkerContext


def measure_drift(
    context: WorkerContext, batch: BatchRow, base: int, before: Matrices, after: Matrices, should_stop: ShouldStop
) -> DriftMeasurement:
    """Of the matrices `after`; those of the parent, version `base`, are `before`.

    Both perplexities are of the same text, so that drift against the parent is the ratio of those against the base.
    What the parent's check measured on as many tokens stands.
    """
    drift = context.measuring.measure(after, [], ("drift",), should_stop)["drift"]
    parent = _parents_drift(context, batch, base, before, drift, should_stop)
    against_parent = None if drift.value is None or not parent else drift.value / parent
    return DriftMeasurement(**drift.model_dump(), parent=against_parent)


def _parents_drift(
    context: WorkerContext,
    batch: BatchRow,
    base: int,
    before: Matrices,
    drift: Measurement,
    should_stop: ShouldStop,
) -> float | None:
    with context.database.reading() as session:
        row = session.get_one(VersionRow, (batch.model, base))  # deleted by now, if its alias was moved
    if row.parent is None:
        return 1.0
    known = (row.metrics or {}).get("drift") or {}
    if known.get("value") is not None and known.get("n") == drift.n:
        return float(known["value"])
    return context.measuring.measure(before, [], ("drift",), should_stop)["drift"].value
