"""The `solve` task: solve the batch, check the new weights beside the old, publish or reject."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
import torch
from torch import Tensor

from api_schemas.algorithms import EditSettings
from api_schemas.facts import Fact
from editing.batch import LayerEdit, solve_batch
from editing.contexts import contexts_from_texts
from editing.values import Values
from versions import batches, tasks
from versions.tables import TaskRow
from workers.check import check_edit
from workers.context import WorkerContext
from workers.deltas import LayerDelta
from workers.lease import Lease
from workers.materialise import add_up
from workers.plan import tokenized_groups
from workers.progress import TaskProgress
from workers.publish import Candidate, conclude
from workers.stages import timed
from workers.values import BatchValues, gather

log = structlog.get_logger(__name__)


def solve(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.batch_id is not None
    with context.database.reading() as session:
        batch = batches.get(session, task.batch_id)
        facts = [Fact.model_validate(fact) for fact in batches.facts(session, batch.id)]
        (plan,) = tasks.of_batch(session, batch.id, "plan")
        shards = tasks.of_batch(session, batch.id, "values")
    assert batch.base_version is not None
    assert plan.result is not None
    settings = EditSettings.model_validate(batch.settings)
    texts: list[str] = plan.result["contexts"]
    report = TaskProgress(context.database, batch.id)
    groups = tokenized_groups(context, facts, settings)
    parent = context.matrices.get(batch.base_version)
    statistics = context.statistics.get(settings.layers, report, lease.should_stop)
    with timed(batch, "solve"):
        edit = solve_batch(
            context.model.decoder,
            parent,
            statistics,
            groups,
            contexts_from_texts(context.model.backend_tokenizer, texts),
            _as_values(context, gather(context.blobs, shards), max(settings.layers)),
            settings,
            lambda matrices: context.measuring.unsaid_groups(matrices, groups, lease.should_stop),
            should_stop=lease.should_stop,
            on_progress=report,
        )
        deltas = {layer: _as_stored(one) for layer, one in edit.layers.items()}
        matrices = {**parent, **_materialised(context, batch.base_version, deltas)}
        weights = {layer: _weight(context, parent, layer) for layer in edit.layers}
        reports = {layer: one.report(weights[layer], statistics[layer]) for layer, one in edit.layers.items()}
    log.info("solved", layers=sorted(edit.layers), repaired=list(edit.repaired))
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "checking", repaired=list(edit.repaired))
    with timed(batch, "check"):
        checked = check_edit(context, batch, facts, parent, matrices, lease.should_stop, report)
    candidate = Candidate(settings, texts, len(groups), edit, reports, statistics, deltas, matrices, checked)
    conclude(context, task, batch, candidate)


def _as_values(context: WorkerContext, gathered: BatchValues, layer: int) -> Values:
    device = context.model.decoder.device
    number = gathered.deltas.shape[0]
    return Values(
        layer=layer,
        deltas=gathered.deltas.to(device),
        keys=gathered.keys.to(device),
        states=gathered.states.to(device),
        losses=torch.zeros(number, device=device),
        steps=gathered.steps.to(device),
        reached=gathered.reached.to(device),
    )


def _as_stored(edit: LayerEdit) -> LayerDelta:
    """In the float32 that the blob holds: what is checked is what will be read back."""
    pair = edit.factors
    return LayerDelta(
        edit.layer,
        a=None if pair is None else pair[0].float().cpu(),
        b=None if pair is None else pair[1].float().cpu(),
        dense=edit.delta().float().cpu() if pair is None else None,
        keys=edit.keys.float().cpu(),
        values=edit.residual.float().cpu(),
    )


def _materialised(context: WorkerContext, base: int, deltas: Mapping[int, LayerDelta]) -> dict[int, Tensor]:
    """The edited layers' matrices, added up from the base over the whole lineage as every worker will do."""
    ancestry = context.matrices.deltas(base)
    return {
        layer: add_up(
            context.model.decoder.projections[layer], [*(older[layer] for older in ancestry if layer in older), delta]
        )
        for layer, delta in deltas.items()
    }


def _weight(context: WorkerContext, parent: Mapping[int, Tensor], layer: int) -> Tensor:
    """The parent's W (d_out, d_in) at `layer`."""
    projection = context.model.decoder.projections[layer]
    matrix = parent.get(layer, projection.weight.detach())
    return matrix.T if projection.transposed else matrix
