"""The `plan` task: find every subject in its tokens, sample the contexts, cut the batch into shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from api_schemas.edits import BUDGET_EXCEEDED
from api_schemas.facts import Fact
from api_schemas.metrics import DriftMeasurement
from api_schemas.references import version_name
from editing.errors import EditingError
from editing.methods import ALGORITHMS, EditSettings, context_reserve
from editing.solve.layers import check_together
from editing.subjects import ChatForm
from editing.values.chat_forms import chat_forms
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup, cut_shards, group_by_subject, tokenize_facts
from store.lineage import versions as lineage
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, lifecycle, tasks
from workers.checking.limits import limits_of, over_budget
from workers.context import WorkerContext
from workers.tasks.batch_settings import settings_of
from workers.tasks.batch_warnings import batch_warnings
from workers.tasks.lease import Lease
from workers.tasks.progress import TaskProgress
from workers.tasks.stage_times import observe_queue_wait, timed

EXPECTED_STEPS = 12
"""Steps after which most facts have stopped early; with the machine's measured speed it sizes shards."""
LEAST_SHARD_TOKENS = 512
"""Smaller shards would leave the matrix products too small to be fast."""

SOLVE_TASKS: Final = {"edit": "solve", "consolidation": "solve_kept"}
"""By the kind of the batch: the task that its values are made for."""

log = structlog.get_logger(__name__)


class TooManySubjectsError(EditingError):
    """The method takes fewer subjects in one solve than the batch has."""

    code = "too_many_subjects"


class BudgetUsedError(EditingError):
    """The line has used more than the batch's budget before it."""

    code = BUDGET_EXCEEDED


def plan(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    batch, facts = batch_with_facts(context, task)
    observe_queue_wait(batch)
    _check_budget(context, batch)
    settings = settings_of(context, batch)
    with timed(batch, "plan"):
        groups, contexts, forms = prepared(context, batch, facts, settings, lease)
    keep_plan(context, task, batch, settings, groups, contexts, forms, range(len(groups)), {})


def batch_with_facts(context: WorkerContext, task: TaskRow) -> tuple[BatchRow, list[Fact]]:
    """The batch that `task` is of, and its facts in their order."""
    assert task.batch_id is not None
    with context.database.reading() as session:
        batch = batches.get(session, task.batch_id)
        return batch, [Fact.model_validate(fact) for fact in batches.facts(session, batch.id)]


def prepared(
    context: WorkerContext, batch: BatchRow, facts: list[Fact], settings: EditSettings, lease: Lease
) -> tuple[tuple[SubjectGroup, ...], tuple[Context, ...], tuple[ChatForm, ...]]:
    """The batch's groups, contexts sampled from its parent, and its chat forms.

    What it needs beside them was made and checked.
    """
    assert batch.base_version is not None
    check_together(context.model.decoder, settings.layers)
    forms = forms_of(context, settings)
    groups = tokenized_groups(context, facts, settings, forms)
    _check_batch_limit(batch, groups)
    context.statistics.get(settings.layers, TaskProgress(context.database, batch.id), lease.should_stop)
    return groups, context.context_texts.of(batch.base_version, settings), forms


def keep_plan(
    context: WorkerContext,
    task: TaskRow,
    batch: BatchRow,
    settings: EditSettings,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    forms: Sequence[ChatForm],
    optimised: Sequence[int],
    more: Mapping[str, Any],
) -> None:
    """End the task: shards for the values of the groups `optimised`, by number; where there are none, the solve.

    `more` is kept with the result, for the solve.
    """
    tokens = int(context.tokens_per_second * context.settings.shard_seconds / EXPECTED_STEPS)
    wanted = [groups[number] for number in optimised]
    shards = [
        [optimised[place] for place in shard]
        for shard in cut_shards(wanted, settings.context_texts, max(tokens, LEAST_SHARD_TOKENS), EXPECTED_STEPS)
    ]
    log.info("planned", facts=batch.facts, subjects=len(groups), optimised=len(optimised), shards=len(shards))
    with context.database.writing() as session:
        texts = [context_text.text for context_text in contexts]
        forms_kept = as_stored(forms)
        result = {**more, "contexts": texts, "chat_forms": forms_kept, "subjects": len(groups)}
        tasks.complete(session, task.id, task.token, result)
        row = batches.get(session, batch.id)
        row.settings = settings.model_dump(mode="json")
        warnings = [warning.model_dump(mode="json") for warning in batch_warnings(groups, settings)]
        told: dict[str, Any] = {"subjects": len(groups), **({"warnings": warnings} if warnings else {})}
        if not shards:
            batches.set_state(session, row, "solving", **told)
            lifecycle.set_progress(row, "solving", 0, row.facts, None)
            tasks.create(session, of=row, kind=SOLVE_TASKS[row.kind])
            return
        batches.set_state(session, row, "optimising", shards=len(shards), **told)
        lifecycle.set_progress(row, "optimising", 0, sum(len(group.facts) for group in wanted), None)
        for number, members in enumerate(shards):
            payload = {
                "groups": members,
                "facts": [fact.index for group in members for fact in groups[group].facts],
                "contexts": texts,
                "chat_forms": forms_kept,
            }
            tasks.create(session, of=row, kind="values", shard=number, payload=payload)


def forms_of(context: WorkerContext, settings: EditSettings) -> tuple[ChatForm, ...]:
    """The chat forms that a batch with `settings` is edited in; what its template says may change from day to day."""
    return chat_forms(context.model.tokenizer) if "chat" in settings.forms and settings.chat_weight > 0 else ()


def as_stored(forms: Sequence[ChatForm]) -> list[list[str]]:
    return [[form.before, form.after, form.lead] for form in forms]


def stored_forms(kept: Mapping[str, Any]) -> tuple[ChatForm, ...]:
    """The chat forms that a plan, a shard or a version's provenance keeps; none where it is older than they are."""
    return tuple(ChatForm(*parts) for parts in kept.get("chat_forms", ()))


def tokenized_groups(
    context: WorkerContext, facts: list[Fact], settings: EditSettings, forms: Sequence[ChatForm] = ()
) -> tuple[SubjectGroup, ...]:
    """The batch in tokens, by subject. Raises FactError for a fact that this model cannot take."""
    length, reserve = context.model.decoder.context_length, context_reserve(settings)
    return group_by_subject(tokenize_facts(context.model.backend_tokenizer, facts, length, reserve, forms))


def _check_budget(context: WorkerContext, batch: BatchRow) -> None:
    """Before anything is computed: the batch may have waited while its line went on."""
    assert batch.base_version is not None
    with context.database.reading() as session:
        measured = lineage.get(session, batch.model, batch.base_version).metrics
    used = DriftMeasurement.model_validate((measured or {}).get("drift") or {"value": None, "n": 0})
    budget = limits_of(batch).budget
    over = over_budget(used, budget)
    if over is not None and used.is_beyond(budget["drift"]):  # else the check, which decides on this budget, reads on
        raise BudgetUsedError(
            f"{version_name(batch.base_version)}, which the batch is made on, has used the budget already: {over}; "
            "consolidate the line, or send the batch again with a greater budget"
        )


def _check_batch_limit(batch: BatchRow, groups: tuple[SubjectGroup, ...]) -> None:
    limit = ALGORITHMS[batch.algorithm].batch_limit
    if limit is not None and len(groups) > limit:
        raise TooManySubjectsError(
            f"{batch.algorithm} edits {limit} subject at a time and the batch has {len(groups)}; "
            "send one batch for each subject, or use emmet or memit"
        )
