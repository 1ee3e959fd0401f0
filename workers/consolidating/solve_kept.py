"""The `solve_kept` task: solve a consolidation from the base, check it beside the version it is of, publish or reject.

No alias follows: it is a branch of the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.references import version_name
from editing.methods import ALGORITHMS, EditSettings
from editing.model.projection import Matrices
from editing.solve.consolidating import joined, kept_values
from editing.values.contexts import Context, contexts_of
from editing.values.facts import SubjectGroup
from editing.values.value_set import Values
from store.blobs.arrays import unpack
from store.lineage import versions as lineage
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, tasks
from workers.consolidating.check_consolidation import check_consolidation, drift_warnings
from workers.context import WorkerContext
from workers.tasks.check import Checked
from workers.tasks.lease import Lease
from workers.tasks.plan import stored_forms, tokenized_groups
from workers.tasks.progress import TaskProgress
from workers.tasks.publish import conclude
from workers.tasks.solve import SolveInputs, as_values, checked_candidate, solved_on
from workers.tasks.stage_times import timed
from workers.tasks.values import gather


def solve_kept(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.batch_id is not None
    with context.database.reading() as session:
        batch = batches.get(session, task.batch_id)
        facts = [Fact.model_validate(fact) for fact in batches.facts(session, batch.id)]
        assert batch.consolidates is not None
        replaced = lineage.get(session, batch.model, batch.consolidates)
    assert batch.base_version is not None
    report = TaskProgress(context.database, batch.id)
    with timed(batch, "solve"):
        inputs, kept = _inputs(context, batch, batch.base_version, facts, lease, report)
        solved = solved_on(context, inputs, batch.base_version, lease, report)
    before = context.matrices.get(replaced.number)

    def check(_base: Matrices, matrices: Mapping[int, Tensor]) -> Checked:
        return check_consolidation(context, batch, facts, before, matrices, lease.should_stop, report)

    candidate = checked_candidate(context, batch, solved, check)
    of = {"version": version_name(replaced.number), "edit": replaced.batch_id}
    made_with = {**candidate.made_with, "consolidates": of, "kept": kept}
    warnings = [*candidate.warnings, *drift_warnings(candidate.checked, replaced.number)]
    conclude(context, task, batch, replace(candidate, made_with=made_with, warnings=warnings))


def _inputs(
    context: WorkerContext, batch: BatchRow, base: int, facts: Sequence[Fact], lease: Lease, report: TaskProgress
) -> tuple[SolveInputs, int]:
    """What the consolidation is solved from, and how many of its subjects kept their states."""
    with context.database.reading() as session:
        (plan,) = tasks.of_batch(session, batch.id, "plan_kept")
        shards = tasks.of_batch(session, batch.id, "values")
    assert plan.result is not None
    settings = EditSettings.model_validate(batch.settings)
    forms = stored_forms(plan.result)
    groups = tokenized_groups(context, list(facts), settings, forms)
    statistics = context.statistics.get(settings.layers, report, lease.should_stop)
    texts: list[str] = plan.result["contexts"]
    contexts = contexts_of(context.model.backend_tokenizer, texts, forms, settings.chat_weight)
    values, kept = _values(context, base, groups, contexts, plan.result, shards, max(settings.layers))
    algorithm = ALGORITHMS[batch.algorithm]
    return SolveInputs(base, values, groups, texts, forms, settings, statistics, algorithm), kept


def _values(
    context: WorkerContext,
    base: int,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    plan: Mapping[str, object],
    shards: Sequence[TaskRow],
    layer: int,
) -> tuple[Values, int]:
    """Values of all groups: measured anew from kept states, or optimised by `shards`."""
    if "blob" not in plan:
        return as_values(context, gather(context.blobs, shards), layer), 0
    arrays, header = unpack(context.blobs.get(str(plan["blob"])))
    numbers: list[int] = header["groups"]
    kept = kept_values(
        context.model.decoder,
        context.matrices.get(base),
        [groups[number] for number in numbers],
        contexts,
        torch.from_numpy(arrays["wanted"]),
        layer,
    )
    if not shards:
        return kept, len(numbers)
    others = sorted(set(range(len(groups))) - set(numbers))  # in which order their shards are gathered
    return joined(kept, numbers, as_values(context, gather(context.blobs, shards), layer), others), len(numbers)
