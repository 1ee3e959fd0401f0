"""Measures how long the stages of a batch take, for its metrics and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from configuration import tracing
from store.schema.tables import BatchRow, EventRow
from workers.metrics import EDIT_QUEUE_WAIT_SECONDS, EDIT_STAGE_SECONDS

_STAGE_OF_STATE = {
    "queued": "queued",
    "planning": "plan",
    "optimising": "values",
    "solving": "solve",
    "checking": "check",
}


def observe_queue_wait(batch: BatchRow) -> None:
    """How long the batch, which has just begun, waited for that."""
    assert batch.started_at is not None
    EDIT_QUEUE_WAIT_SECONDS.labels(batch.model).observe((batch.started_at - batch.created_at).total_seconds())


@contextmanager
def timed(batch: BatchRow, stage: str, shard: int | None = None) -> Iterator[None]:
    """Observe the block's duration as `stage` of the batch, also when it raises, and trace it as a span."""
    started = time.monotonic()
    attributes = {"emmetd.edit.id": batch.id, "emmetd.algorithm": batch.algorithm, "emmetd.task.shard": shard}
    try:
        with tracing.span(stage, attributes):
            yield
    finally:
        EDIT_STAGE_SECONDS.labels(batch.model, batch.algorithm, stage).observe(time.monotonic() - started)


def seconds_by_stage(events: Sequence[EventRow], until: datetime) -> dict[str, float]:
    """Wall-clock seconds that a batch spent in each state so far, waiting included, from its events in order."""
    seconds: dict[str, float] = {}
    changes = [event for event in events if event.kind in _STAGE_OF_STATE]
    ends = [event.created_at for event in changes[1:]] + [until]
    for event, end in zip(changes, ends, strict=True):
        stage = _STAGE_OF_STATE[event.kind]
        seconds[stage] = round(seconds.get(stage, 0.0) + (end - event.created_at).total_seconds(), 3)
    return seconds
