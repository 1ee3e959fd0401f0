"""The `plan_kept` task: decide which facts of a consolidation need no optimisation, and cut the others into shards."""

from __future__ import annotations

import numpy as np
import structlog

from editing.solve.consolidating import repairing
from store.blobs.arrays import pack
from store.schema.tables import TaskRow
from workers.consolidating.kept_states import kept_states
from workers.context import WorkerContext
from workers.tasks.batch_settings import settings_of
from workers.tasks.lease import Lease
from workers.tasks.plan import batch_with_facts, keep_plan, prepared
from workers.tasks.stage_times import observe_queue_wait, timed

log = structlog.get_logger(__name__)


def plan_kept(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    """As a batch is planned; states that are kept are named by the task's result, as a blob.

    Raises BlobError where the version to consolidate cannot be had: there would be nothing to measure it beside.
    """
    batch, facts = batch_with_facts(context, task)
    assert batch.consolidates is not None
    observe_queue_wait(batch)
    settings = repairing(settings_of(context, batch))
    with timed(batch, "plan"):
        context.matrices.get(batch.consolidates)
        groups, contexts, forms = prepared(context, batch, facts, settings, lease)
        kept = kept_states(context, batch, groups, settings, lease.should_stop)
    log.info("kept", states=len(kept), subjects=len(groups))
    found = {}
    if kept:
        header = {"kind": "kept states", "batch": batch.id, "groups": list(kept)}
        found["blob"] = context.blobs.put(pack({"wanted": np.stack(list(kept.values()))}, header))
    optimised = [number for number in range(len(groups)) if number not in kept]
    keep_plan(context, task, batch, settings, groups, contexts, forms, optimised, {**found, "kept": len(kept)})
