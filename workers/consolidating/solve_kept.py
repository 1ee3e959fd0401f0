"""The `solve_kept` task: solve a consolidation from the base, check it beside the version it is of, publish or reject.

No alias follows: it is a branch of the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from api_schemas.references import version_name
from editing.model.projection import Matrices
from editing.solve.consolidating import kept_values
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.value_set import Values
from store.blobs.arrays import unpack
from store.lineage import versions as lineage
from store.schema.tables import TaskRow
from workers.consolidating.check_consolidation import check_consolidation, drift_warnings
from workers.context import WorkerContext
from workers.tasks.check import Checked
from workers.tasks.lease import Lease
from workers.tasks.plan import batch_with_facts
from workers.tasks.progress import TaskProgress
from workers.tasks.publish import conclude
from workers.tasks.solve import checked_candidate, solve_inputs, solved_on
from workers.tasks.stage_times import timed


def solve_kept(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    batch, facts = batch_with_facts(context, task)
    assert batch.consolidates is not None
    assert batch.base_version is not None
    with context.database.reading() as session:
        replaced = lineage.get(session, batch.model, batch.consolidates)
    base = batch.base_version
    report = TaskProgress(context.database, batch.id)
    numbers: list[int] = []

    def kept(
        blob: str, groups: Sequence[SubjectGroup], contexts: Sequence[Context], layer: int
    ) -> tuple[list[int], Values]:
        """Values measured anew at the base from kept states."""
        arrays, header = unpack(context.blobs.get(blob))
        numbers.extend(header["groups"])
        wanted = torch.from_numpy(arrays["wanted"])
        of = [groups[number] for number in numbers]
        return numbers, kept_values(context.model.decoder, context.matrices.get(base), of, contexts, wanted, layer)

    with timed(batch, "solve"):
        inputs = solve_inputs(context, batch, facts, lease, report, planned_by="plan_kept", kept=kept)
        solved = solved_on(context, inputs, base, lease, report)
    before = context.matrices.get(replaced.number)

    def check(_base: Matrices, matrices: Mapping[int, Tensor]) -> Checked:
        return check_consolidation(context, batch, facts, before, matrices, lease.should_stop, report)

    candidate = checked_candidate(context, batch, solved, check)
    of = {"version": version_name(replaced.number), "edit": replaced.batch_id}
    made_with = {**candidate.made_with, "consolidates": of, "kept": len(numbers)}
    warnings = [*candidate.warnings, *drift_warnings(candidate.checked, replaced.number)]
    conclude(context, task, batch, replace(candidate, made_with=made_with, warnings=warnings))
