"""The `solve` task: solve the batch, check the new weights beside the old, publish or reject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import torch

from api_schemas.facts import Fact
from api_schemas.metrics import LayerReport
from editing.covariance.key_metric import KeyMetric
from editing.covariance.method_metric import key_metrics
from editing.covariance.statistic import Statistic
from editing.methods import ALGORITHMS, EditSettings
from editing.solve.batch import BatchEdit, LayerEdit, solve_batch
from editing.values.contexts import contexts_from_texts
from editing.values.facts import SubjectGroup
from editing.values.optimisation import Values
from store.errors import ParentMovedError
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, tasks
from workers.context import WorkerContext
from workers.tasks.check import check_edit
from workers.tasks.lease import Lease
from workers.tasks.plan import tokenized_groups
from workers.tasks.progress import TaskProgress
from workers.tasks.publish import Candidate, conclude
from workers.tasks.rebase import MOST_REBASES, carried_values, moved_to, parent_now, rebased_edit
from workers.tasks.stages import timed
from workers.tasks.values import BatchValues, gather
from workers.tasks.warnings import batch_warnings
from workers.weights.deltas import LayerDelta
from workers.weights.layer_weights import materialised, weight_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Wanted:
    """What a batch wants, found on version `base`: its values, and all else that it is solved from."""

    base: int
    values: Values
    groups: Sequence[SubjectGroup]
    contexts: Sequence[str]
    settings: EditSettings
    statistics: Mapping[int, Statistic]
    metrics: Mapping[int, KeyMetric]


@dataclass(frozen=True)
class _Solved:
    """A batch's edit on version `base`."""

    base: int
    edit: BatchEdit
    wanted: _Wanted


def solve(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.batch_id is not None
    with context.database.reading() as session:
        batch = batches.get(session, task.batch_id)
        facts = [Fact.model_validate(fact) for fact in batches.facts(session, batch.id)]
    report = TaskProgress(context.database, batch.id)
    base = parent_now(context, batch)
    with timed(batch, "solve"):
        wanted = _wanted(context, batch, facts, lease, report)
        solved = _solved(context, wanted, base, lease, report)
    for attempt in range(MOST_REBASES + 1):
        candidate = _checked(context, batch, facts, solved, lease, report)
        try:
            conclude(context, task, batch, candidate)
            return
        except ParentMovedError as moved:
            base = moved_to(context, batch, solved.base, moved, again=attempt < MOST_REBASES)
            with timed(batch, "solve"):
                edit = rebased_edit(context, solved.edit, solved.base, base, wanted.metrics, wanted.settings)
                solved = _solved(context, wanted, base, lease, report) if edit is None else _Solved(base, edit, wanted)


def _wanted(
    context: WorkerContext, batch: BatchRow, facts: Sequence[Fact], lease: Lease, report: TaskProgress
) -> _Wanted:
    with context.database.reading() as session:
        (plan,) = tasks.of_batch(session, batch.id, "plan")
        shards = tasks.of_batch(session, batch.id, "values")
    assert batch.base_version is not None
    assert plan.result is not None
    settings = EditSettings.model_validate(batch.settings)
    statistics = context.statistics.get(settings.layers, report, lease.should_stop)
    return _Wanted(
        batch.base_version,
        _as_values(context, gather(context.blobs, shards), max(settings.layers)),
        tokenized_groups(context, list(facts), settings),
        plan.result["contexts"],
        settings,
        statistics,
        key_metrics(ALGORITHMS[batch.algorithm], statistics, settings),
    )


def _solved(context: WorkerContext, wanted: _Wanted, base: int, lease: Lease, report: TaskProgress) -> _Solved:
    """Solved on version `base`. Raises ParentMovedError where what the batch wants does not hold there."""
    contexts = contexts_from_texts(context.model.backend_tokenizer, wanted.contexts)
    groups, settings = wanted.groups, wanted.settings
    edit = solve_batch(
        context.model.decoder,
        context.matrices.get(base),
        wanted.metrics,
        groups,
        contexts,
        carried_values(context, wanted.values, groups, contexts, settings.layers, wanted.base, base),
        settings,
        lambda matrices: context.measuring.unsaid_groups(matrices, groups, contexts, lease.should_stop),
        should_stop=lease.should_stop,
        on_progress=report,
    )
    log.info("solved", layers=sorted(edit.layers), repaired=list(edit.repaired))
    return _Solved(base, edit, wanted)


def _checked(
    context: WorkerContext,
    batch: BatchRow,
    facts: Sequence[Fact],
    solved: _Solved,
    lease: Lease,
    report: TaskProgress,
) -> Candidate:
    edit, wanted = solved.edit, solved.wanted
    parent = context.matrices.get(solved.base)
    deltas = {layer: _as_stored(one) for layer, one in edit.layers.items()}
    matrices = materialised(context.model.decoder, context.matrices, solved.base, deltas)
    reports = [
        _layer_report(context, one, weight_of(context.model.decoder, parent, layer), solved, deltas[layer].rank)
        for layer, one in edit.layers.items()
    ]
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "checking", repaired=list(edit.repaired))
    with timed(batch, "check"):
        checked = check_edit(context, batch, facts, parent, matrices, lease.should_stop, report)
    made_with: dict[str, Any] = {
        "settings": wanted.settings.model_dump(mode="json"),
        "contexts": list(wanted.contexts),
        "subjects": len(wanted.groups),
    }
    if wanted.base != solved.base:
        made_with["values_made_on"] = wanted.base
    warnings = batch_warnings(wanted.groups, wanted.settings)
    return Candidate(solved.base, deltas, matrices, checked, reports, wanted.statistics, made_with, warnings=warnings)


def _layer_report(
    context: WorkerContext, edit: LayerEdit, weight: torch.Tensor, solved: _Solved, rank: int
) -> LayerReport:
    done = edit.report(weight, solved.wanted.statistics[edit.layer])
    solution = edit.solutions[-1]
    return LayerReport(
        layer=edit.layer,
        mu_used=solution.mu_used,
        mu_asked=solution.mu_asked,
        condition_number=solution.condition_number,
        memorization_error=done.memorization_error,
        preservation_cost=done.preservation_cost,
        relative_norm=done.relative_norm,
        rank=rank,
        repaired=list(solved.edit.repaired),
    )


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
