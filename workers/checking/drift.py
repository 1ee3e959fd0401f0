"""Drift of a checked version against the base and against its parent, on as much text as deciding needs."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from api_schemas.metrics import DriftMeasurement
from editing.metrics.drift import drift
from editing.metrics.sequential_drift import enough
from editing.model.projection import Matrices
from editing.progress import ShouldStop
from editing.readings.held_out_text import UNREAD
from editing.readings.observations import HeldOutReading
from store.errors import BlobError
from store.schema.tables import BatchRow, VersionRow
from workers.checking.limits import Limits
from workers.context import WorkerContext
from workers.held_out import BASE, STORED, HeldOutReadings, VersionKey, version_key

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class MeasuredDrift:
    """The measurement, and the `reading` of the checked version that it was made of."""

    measurement: DriftMeasurement
    reading: HeldOutReading


def measure_drift(
    context: WorkerContext,
    batch: BatchRow,
    base: int,
    before: Matrices,
    after: Matrices,
    limits: Limits,
    should_stop: ShouldStop,
) -> MeasuredDrift:
    """Of the matrices `after`; those of the parent, version `base`, are `before`.

    The three are compared text by text. Text is read in portions until the threshold and the budget of `limits` are
    decided; what was read of the base and of the parent is kept and not read again.
    """
    readings = context.measuring.held_out(should_stop)
    parent = _parent(context, batch, base, readings)
    now = UNREAD
    while True:
        now = readings.text.read_on(after, now, should_stop)
        texts = len(now.tokens)
        at_base = readings.at(BASE, {}, texts, should_stop)
        at_parent = at_base if parent == BASE else readings.at(parent, before, texts, should_stop)
        pairs = ((at_parent, limits.thresholds.get("drift")), (at_base, limits.budget.get("drift")))
        if enough(now, pairs, len(readings.text)):
            break
    log.info("drift measured", texts=texts, of=len(readings.text))
    of_line, of_change = drift(now, at_base), drift(now, at_parent)
    measurement = DriftMeasurement(
        **of_line.model_dump(),
        parent=of_change.value,
        parent_low=of_change.low,
        parent_high=of_change.high,
        of=sum(readings.text.predicted),
    )
    return MeasuredDrift(measurement, now)


def _parent(context: WorkerContext, batch: BatchRow, base: int, readings: HeldOutReadings) -> VersionKey:
    """The parent's key, once what is kept with it is known."""
    with context.database.reading() as session:
        row = session.get_one(VersionRow, (batch.model, base))  # deleted by now, if its alias was moved
    if row.parent is None:
        return BASE
    key = version_key(row.matrix_hashes)
    if not readings.knows(key):
        try:
            readings.take_stored(key, context.matrices.reader.header(row).get(STORED))
        except BlobError as error:
            log.info("a version's reading cannot be had; it is read again", version=base, error=str(error))
    return key
