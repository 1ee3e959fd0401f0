"""The `solve` task: solve the batch, check the new weights beside the old, publish or reject."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
import torch

from api_schemas.facts import Fact
from api_schemas.metrics import LayerReport
from editing.covariance.key_metric import KeyMetric
from editing.covariance.method_metric import key_metrics, wants_past_keys
from editing.covariance.statistic import Statistic
from editing.methods import ALGORITHMS, Algorithm, EditSettings
from editing.model.projection import Matrices
from editing.solve.batch import BatchEdit, Earlier, LayerEdit, solve_batch
from editing.subjects import ChatForm
from editing.values.contexts import Context, contexts_of
from editing.values.facts import SubjectGroup
from editing.values.value_set import Values, in_group_order
from store.errors import ParentMovedError
from store.lineage.versions import RESTATED
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, tasks
from workers.context import WorkerContext
from workers.rehearsal import rehearsed
from workers.tasks.batch_warnings import batch_warnings
from workers.tasks.check import Checked, check_edit
from workers.tasks.lease import Lease
from workers.tasks.plan import as_stored, batch_with_facts, stored_forms, tokenized_groups
from workers.tasks.progress import TaskProgress
from workers.tasks.publish import Candidate, conclude
from workers.tasks.rebase import MOST_REBASES, moved_to, parent_now, rebased_edit, rebased_values
from workers.tasks.stage_times import timed
from workers.tasks.values import BatchValues, gather
from workers.weights.deltas import LayerDelta
from workers.weights.layer_weights import materialised, matrix_of, weight_of

log = structlog.get_logger(__name__)

Check = Callable[[Matrices, Mapping[int, torch.Tensor]], Checked]
"""The parent's matrices and the edited ones → what was measured of them."""
KeptValues = Callable[[str, Sequence[SubjectGroup], Sequence[Context], int], tuple[list[int], Values]]
"""A blob of kept states, the batch's groups, its contexts, the last layer → some groups' numbers and their values."""


@dataclass(frozen=True)
class SolveInputs:
    """What a batch wants, found on version `base`: its values, and all else that it is solved from. `seed` draws the
    earlier facts that it listens to."""

    base: int
    values: Values
    groups: Sequence[SubjectGroup]
    contexts: Sequence[str]
    chat_forms: Sequence[ChatForm]
    settings: EditSettings
    statistics: Mapping[int, Statistic]
    algorithm: Algorithm
    seed: int


@dataclass(frozen=True)
class SolvedBatch:
    """A batch's edit on version `base`, and where the earlier facts stand that it writes again, column by column."""

    base: int
    edit: BatchEdit
    inputs: SolveInputs
    restated: Sequence[Sequence[Mapping[str, Any]]] = ()


def solve(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    batch, facts = batch_with_facts(context, task)
    report = TaskProgress(context.database, batch.id)
    base = parent_now(context, batch)
    with timed(batch, "solve"):
        inputs = solve_inputs(context, batch, facts, lease, report)
        solved = solved_on(context, inputs, base, lease, report)
    for attempt in range(MOST_REBASES + 1):
        check = functools.partial(
            check_edit, context, batch, facts, solved.base, should_stop=lease.should_stop, on_progress=report
        )
        candidate = checked_candidate(context, batch, solved, check)
        try:
            conclude(context, task, batch, candidate)
            return
        except ParentMovedError as moved:
            base = moved_to(context, batch, solved.base, moved, may_rebase_again=attempt < MOST_REBASES)
            with timed(batch, "solve"):
                edit = rebased_edit(
                    context, solved.edit, solved.base, base, _metrics(context, inputs, base), inputs.settings
                )
                solved = (
                    solved_on(context, inputs, base, lease, report) if edit is None else SolvedBatch(base, edit, inputs)
                )


def solve_inputs(
    context: WorkerContext,
    batch: BatchRow,
    facts: Sequence[Fact],
    lease: Lease,
    report: TaskProgress,
    *,
    planned_by: str = "plan",
    kept: KeptValues | None = None,
) -> SolveInputs:
    """From the result of the task `planned_by` and the shards of values; with `kept`, from values that it has too."""
    with context.database.reading() as session:
        (plan,) = tasks.of_batch(session, batch.id, planned_by)
        shards = tasks.of_batch(session, batch.id, "values")
    assert batch.base_version is not None
    assert plan.result is not None
    settings, forms = EditSettings.model_validate(batch.settings), stored_forms(plan.result)
    texts: list[str] = plan.result["contexts"]
    groups = tokenized_groups(context, list(facts), settings, forms)
    statistics = context.statistics.get(settings.layers, report, lease.should_stop)
    portions: list[Values] = []
    order: list[int] = []
    if kept is not None and "blob" in plan.result:
        contexts = contexts_of(context.model.backend_tokenizer, texts, forms, settings.chat_weight)
        order, values = kept(plan.result["blob"], groups, contexts, max(settings.layers))
        portions.append(values)
    if shards:
        portions.append(_as_values(context, gather(context.blobs, shards), max(settings.layers)))
        order = [*order, *sorted(set(range(len(groups))) - set(order))]  # in which order shards are gathered
    return SolveInputs(
        batch.base_version,
        in_group_order(portions, order),
        groups,
        texts,
        forms,
        settings,
        statistics,
        ALGORITHMS[batch.algorithm],
        batch.seq,
    )


def _metrics(context: WorkerContext, inputs: SolveInputs, base: int) -> dict[int, KeyMetric]:
    """The method's S of each layer on version `base`, whose lineage's keys are a part of it where they are wanted."""
    settings, algorithm = inputs.settings, inputs.algorithm
    past = context.past_keys.at(base, settings.layers) if wants_past_keys(algorithm, settings) else {}
    return key_metrics(algorithm, inputs.statistics, settings, past)


def solved_on(
    context: WorkerContext, inputs: SolveInputs, base: int, lease: Lease, report: TaskProgress
) -> SolvedBatch:
    """Solved on version `base`. Raises ParentMovedError where what the batch wants does not hold there."""
    groups, settings = inputs.groups, inputs.settings
    tokenizer = context.model.backend_tokenizer
    contexts = contexts_of(tokenizer, inputs.contexts, inputs.chat_forms, settings.chat_weight)
    earlier = rehearsed(context, base, groups, settings, inputs.chat_forms, inputs.seed)
    edit = solve_batch(
        context.model.decoder,
        context.matrices.get(base),
        _metrics(context, inputs, base),
        groups,
        contexts,
        rebased_values(context, inputs.values, groups, contexts, settings.layers, inputs.base, base),
        settings,
        lambda matrices, listened: context.measuring.failing_groups(matrices, listened, contexts, lease.should_stop),
        earlier=Earlier(
            earlier.groups,
            lambda matrices, listened: context.measuring.lost_groups(matrices, listened, contexts, lease.should_stop),
        ),
        should_stop=lease.should_stop,
        on_progress=report,
    )
    log.info("solved", layers=sorted(edit.layers), repaired=list(edit.repaired), restated=len(edit.restated))
    return SolvedBatch(base, edit, inputs, earlier.entries(edit.restated))


def checked_candidate(context: WorkerContext, batch: BatchRow, solved: SolvedBatch, check: Check) -> Candidate:
    """What the batch would become a version with, measured by `check`."""
    edit, inputs = solved.edit, solved.inputs
    parent = context.matrices.get(solved.base)
    deltas = {layer: _as_stored(edit_of_layer) for layer, edit_of_layer in edit.layers.items()}
    groups: list[list[int]] | None = None
    if edit.wanted is not None:
        last = max(deltas)
        deltas[last] = replace(deltas[last], wanted=edit.wanted.T.float().cpu())
        groups = [[fact.index for fact in group.facts] for group in inputs.groups]
    matrices = materialised(context.model.decoder, context.matrices, solved.base, deltas)
    reports = [
        _layer_report(context, edit_of_layer, parent, solved, deltas[layer].rank)
        for layer, edit_of_layer in edit.layers.items()
    ]
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "checking", repaired=list(edit.repaired))
    with timed(batch, "check"):
        checked = check(parent, matrices)
    made_with: dict[str, Any] = {
        "settings": inputs.settings.model_dump(mode="json"),
        "contexts": list(inputs.contexts),
        "chat_forms": as_stored(inputs.chat_forms),
        "subjects": len(inputs.groups),
    }
    if solved.restated:
        made_with[RESTATED] = solved.restated
    if inputs.base != solved.base:
        made_with["values_made_on"] = inputs.base
    warnings = batch_warnings(inputs.groups, inputs.settings)
    return Candidate(
        solved.base,
        deltas,
        matrices,
        checked,
        reports,
        inputs.statistics,
        made_with,
        groups=groups,
        warnings=warnings,
    )


def _layer_report(
    context: WorkerContext, edit: LayerEdit, parent: Matrices, solved: SolvedBatch, rank: int
) -> LayerReport:
    decoder, layer, statistic = context.model.decoder, edit.layer, solved.inputs.statistics[edit.layer]
    power = context.ordinary_outputs.power(decoder.projections[layer], matrix_of(decoder, parent, layer), statistic)
    measures = edit.report(weight_of(decoder, parent, layer), statistic, power)
    solution = edit.solutions[-1]
    return LayerReport(
        layer=edit.layer,
        mu_used=solution.mu_used,
        mu_asked=solution.mu_asked,
        condition_number=solution.condition_number,
        memorization_error=measures.memorization_error,
        preservation_cost=measures.preservation_cost,
        relative_norm=measures.relative_norm,
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
