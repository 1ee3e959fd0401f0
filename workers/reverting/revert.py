"""The `revert` task: take facts out of a lineage, by a delta of their own, and publish what is left as a version.

A fact whose subject stands alone in its edit leaves without any optimisation: what the edit writes at its key is taken
back, and what it writes at the keys that stay is held (`editing.solve.reverting`). Columns that other facts share are
optimised again for the facts that stay. Versions in between are not altered.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from api_schemas.facts import Fact
from api_schemas.metrics import RevertedMetrics
from api_schemas.references import version_name
from store.errors import NotInLineageError, ParentMovedError
from store.lineage import versions as lineage
from store.lineage.facts_in_force import LineageFact, lineage_facts, without
from store.schema.tables import BatchRow, TaskRow, VersionRow
from store.work import batches
from workers.context import WorkerContext
from workers.reverting.affected_edits import AffectedEdit, affected_edits
from workers.reverting.check_revert import check_revert
from workers.reverting.constrained_tokens import constrained_tokens, facts_of_leaving_subjects
from workers.reverting.past_statistics import past_statistics
from workers.reverting.remaining_edit import remaining_edit
from workers.reverting.reversal import Reversal
from workers.reverting.reverted_answers import RevertedAnswer, answers_at_prompts, as_metrics
from workers.tasks.lease import Lease
from workers.tasks.progress import TaskProgress
from workers.tasks.publish import Candidate, conclude
from workers.tasks.rebase import MOST_REBASES, moved_to, parent_now
from workers.tasks.stage_times import observe_queue_wait, timed
from workers.weights.layer_weights import materialised, weight_of

log = structlog.get_logger(__name__)


def revert(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.batch_id is not None
    with context.database.writing() as session:
        batch = batches.get(session, task.batch_id)
        batches.set_state(session, batch, "solving")
    observe_queue_wait(batch)
    report = TaskProgress(context.database, batch.id)
    base = parent_now(context, batch)
    for attempt in range(MOST_REBASES + 1):
        candidate = _candidate(context, batch, base, lease, report)
        try:
            conclude(context, task, batch, candidate)
            return
        except ParentMovedError as moved:
            base = moved_to(context, batch, base, moved, may_rebase_again=attempt < MOST_REBASES)


def _candidate(context: WorkerContext, batch: BatchRow, base: int, lease: Lease, report: TaskProgress) -> Candidate:
    """The revert on version `base`, checked. Raises NotInLineageError where that has not all of the facts."""
    with context.database.reading() as session:
        in_lineage = lineage_facts(session, batch.model, base)
    leaving = {(entry["edit"], index) for entry in batch.reverts or () for index in entry["facts"]}
    _require(in_lineage, leaving, base)
    with context.database.reading() as session:
        affected = affected_edits(in_lineage, leaving, lineage.restated_columns(session, batch.model, base))
        ancestry = lineage.edits_and_reverts(session, batch.model, base, list(affected))
        parent = lineage.get(session, batch.model, base)
    reverted_facts = [fact for fact in in_lineage if (fact.place.edit, fact.place.index) in leaving]
    original = _original_answers(context, ancestry, reverted_facts, lease)
    with timed(batch, "solve"):
        reversal = _solved(context, batch, base, in_lineage, reverted_facts, ancestry, affected, lease, report)
        now = _answers_pinned(context, reversal, in_lineage, reverted_facts, original, lease)
        deltas = reversal.deltas()
        matrices = materialised(context.model.decoder, context.matrices, base, deltas)
        before = context.matrices.get(base)
        reports = [
            reversal.report(layer, weight_of(context.model.decoder, before, layer), deltas[layer]) for layer in deltas
        ]
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "checking")
    stay = [
        fact for fact in without(in_lineage, leaving, base) if fact.state == "in_force" and fact.place.edit in affected
    ]
    with timed(batch, "check"):
        reverted = RevertedMetrics(
            before=as_metrics(answers_at_prompts(context, before, _facts(reverted_facts), lease.should_stop)),
            after=as_metrics(now),
            original=as_metrics(original),
        )
        drift = _drift(parent)
        checked = check_revert(
            context, batch, _facts(stay), reverted, base, before, matrices, drift, lease.should_stop, report
        )
    made_with = {
        "reverts": reversal.entries(),
        "optimised_again": sum(len(edit.reoptimised) for edit in affected.values()),
    }
    return Candidate(
        base,
        deltas,
        matrices,
        checked,
        reports,
        reversal.statistics,
        made_with,
        reverts=reversal.entries(),
        inserted_keys=reversal.inserted_keys(),
    )


def _original_answers(
    context: WorkerContext, ancestry: Sequence[VersionRow], reverted_facts: Sequence[LineageFact], lease: Lease
) -> list[RevertedAnswer]:
    """What was answered where `reverted_facts` were edited, on the version before each one's edit."""
    parents = {version.batch_id: version.parent for version in ancestry}
    before_edits: list[RevertedAnswer] = []
    for edit in dict.fromkeys(fact.place.edit for fact in reverted_facts):
        parent = parents[edit]
        assert parent is not None
        own = [fact for fact in reverted_facts if fact.place.edit == edit]
        before_edits += answers_at_prompts(context, context.matrices.get(parent), _facts(own), lease.should_stop)
    return before_edits


def _answers_pinned(
    context: WorkerContext,
    reversal: Reversal,
    in_lineage: Sequence[LineageFact],
    reverted_facts: Sequence[LineageFact],
    original: Sequence[RevertedAnswer],
    lease: Lease,
) -> list[RevertedAnswer]:
    """The answers where `reverted_facts` were said. Of edits that could not be pinned at all of them, those that are
    not the original ones are pinned now, as far as there is room."""
    now = answers_at_prompts(context, reversal.matrices(), _facts(reverted_facts), lease.should_stop)
    blurred = [fact for fact, was, is_now in zip(reverted_facts, original, now, strict=True) if is_now != was]
    leaving = facts_of_leaving_subjects(in_lineage, blurred, reversal.affected)
    to_pin = {edit: facts for edit, facts in leaving.items() if facts and edit not in reversal.pinned}
    if not to_pin:
        return now
    reversal.pin(
        constrained_tokens(context.model.backend_tokenizer, in_lineage, to_pin, reversal.affected, reversal.remaining)
    )
    return answers_at_prompts(context, reversal.matrices(), _facts(reverted_facts), lease.should_stop)


def _facts(of: Sequence[LineageFact]) -> list[Fact]:
    return [Fact.model_validate(fact.fact) for fact in of]


def _solved(
    context: WorkerContext,
    batch: BatchRow,
    base: int,
    in_lineage: Sequence[LineageFact],
    reverted_facts: Sequence[LineageFact],
    ancestry: Sequence[VersionRow],
    affected: dict[str, AffectedEdit],
    lease: Lease,
    report: TaskProgress,
) -> Reversal:
    remaining = {edit: remaining_edit(context, ancestry, edit) for edit in affected}
    layers = sorted({layer for edit in remaining.values() for layer in edit.layers})
    statistics = {edit: past_statistics(context, state, report, lease.should_stop) for edit, state in remaining.items()}
    reversal = Reversal(context, base, remaining, affected, statistics, lease.should_stop)
    report("solving", 0, 1)
    leaving = facts_of_leaving_subjects(in_lineage, reverted_facts, affected)
    reversal.take_out(constrained_tokens(context.model.backend_tokenizer, in_lineage, leaving, affected, remaining))
    facts = {(fact.place.edit, fact.place.index): Fact.model_validate(fact.fact) for fact in in_lineage}
    for edit, change in affected.items():
        if change.reoptimised:
            with context.database.writing() as session:
                batches.set_state(
                    session, batches.get(session, batch.id), "optimising", subjects=len(change.reoptimised)
                )
            reversal.reoptimise(edit, [[facts[edit, n] for n in numbers] for numbers in change.reoptimised.values()])
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "solving")
    report("solving", 1, 1)
    log.info("solved without", edits=len(affected), layers=layers)
    return reversal


def _require(in_lineage: Sequence[LineageFact], leaving: set[tuple[str, int]], base: int) -> None:
    standing = {(fact.place.edit, fact.place.index) for fact in in_lineage if fact.reverted_by is None}
    missing = sorted(leaving - standing)
    if missing:
        edit, index = missing[0]
        raise NotInLineageError(
            f"fact {index} of edit {edit!r} is not in {version_name(base)} any more ({len(missing)} of {len(leaving)} "
            "are not): an alias was moved, or another revert took it out, after this one was accepted"
        )


def _drift(parent: VersionRow) -> float | None:
    """What was measured when the newest version of the lineage was published."""
    measured = (parent.metrics or {}).get("drift") or {}
    value: float | None = measured.get("value")
    return value
