"""The `statistic` task: make C0 of some layers ahead of time, or go on with one that was interrupted."""

from __future__ import annotations

import time
from typing import Any

import structlog

from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import StatisticSpec
from store.schema.tables import TaskRow
from store.work import lifecycle, statistics, tasks
from store.work.kinds import STATISTIC
from workers.context import WorkerContext
from workers.statistics.corpora import corpus_named
from workers.tasks.lease import Lease
from workers.tasks.progress import TaskProgress

log = structlog.get_logger(__name__)


def prepare_statistic(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.statistic_id is not None
    with context.database.writing() as session:
        tasks.renew(session, task.id, task.token, context.settings.lease_seconds)  # it may just have been cancelled
        row = lifecycle.get(session, STATISTIC, task.statistic_id)
        row.state = "running"
        layers = tuple(row.layers) if row.layers is not None else context.statistics.default_layers()
        row.layers = list(layers)
    started = time.monotonic()
    spec = StatisticSpec(corpus_named(context.settings, row.corpus), row.tokens)
    made = context.statistics.prepare(
        layers, spec, TaskProgress(context.database, row.id, of=STATISTIC), lease.should_stop
    )
    report = {
        "fingerprint": context.model.fingerprint,
        "seconds": round(time.monotonic() - started, 3),
        "layers": [described(made[layer]) for layer in sorted(made)],
        "blobs": context.statistics.share(made, spec),
    }
    log.info("statistic made", layers=list(layers), corpus=row.corpus, seconds=report["seconds"])
    with context.database.writing() as session:
        tasks.complete(session, task.id, task.token)
        row = lifecycle.get(session, STATISTIC, task.statistic_id)
        statistics.finish(row, report=report)


def described(statistic: Statistic) -> dict[str, Any]:
    """What people want to know of one layer's C0."""
    return {
        "layer": statistic.layer,
        "tokens": statistic.tokens,
        "corpus": statistic.corpus,
        "shrinkage": statistic.shrinkage,
        "condition_number": statistic.condition,
    }
