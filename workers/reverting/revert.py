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
from workers.metrics import EDIT_QUEUE_WAIT_SECONDS
from workers.reverting.check_revert import check_revert
from workers.reverting.kept import kept_edit
from workers.reverting.past_statistics import statistics_of
from workers.reverting.pins import leaving_alone, text_keys
from workers.reverting.reversal import Affected, affected_edits
from workers.reverting.reverted_answers import Answer, answers, as_metrics
from workers.reverting.without_columns import Reversal
from workers.tasks.lease import Lease
from workers.tasks.progress import TaskProgress
from workers.tasks.publish import Candidate, conclude
from workers.tasks.rebase import MOST_REBASES, moved_to, parent_now
from workers.tasks.stages import timed
from workers.weights.layer_weights import materialised, weight_of

log = structlog.get_logger(__name__)


def revert(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.batch_id is not None
    with context.database.writing() as session:
        batch = batches.get(session, task.batch_id)
        batches.set_state(session, batch, "solving")
    assert batch.started_at is not None
    EDIT_QUEUE_WAIT_SECONDS.labels(batch.model).observe((batch.started_at - batch.created_at).total_seconds())
    report = TaskProgress(context.database, batch.id)
    base = parent_now(context, batch)
    for attempt in range(MOST_REBASES + 1):
        candidate = _candidate(context, batch, base, lease, report)
        try:
            conclude(context, task, batch, candidate)
            return
        except ParentMovedError as moved:
            base = moved_to(context, batch, base, moved, again=attempt < MOST_REBASES)


def _candidate(context: WorkerContext, batch: BatchRow, base: int, lease: Lease, report: TaskProgress) -> Candidate:
    """The revert on version `base`, checked. Raises NotInLineageError where that has not all of the facts."""
    with context.database.reading() as session:
        here = lineage_facts(session, batch.model, base)
        ancestry = lineage.ancestry(session, batch.model, base)
    leaving = {(entry["edit"], index) for entry in batch.reverts or () for index in entry["facts"]}
    _require(here, leaving, base)
    affected = affected_edits(here, leaving)
    told = [one for one in here if (one.place.edit, one.place.index) in leaving]
    original = _original_answers(context, ancestry, told, lease)
    with timed(batch, "solve"):
        reversal = _solved(context, batch, base, here, told, ancestry, affected, lease, report)
        now = _answers_pinned(context, reversal, here, told, original, lease)
        deltas = reversal.deltas()
        matrices = materialised(context.model.decoder, context.matrices, base, deltas)
        before = context.matrices.get(base)
        reports = [
            reversal.report(layer, weight_of(context.model.decoder, before, layer), deltas[layer]) for layer in deltas
        ]
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "checking")
    stay = [one for one in without(here, leaving, base) if one.state == "in_force" and one.place.edit in affected]
    with timed(batch, "check"):
        reverted = RevertedMetrics(
            before=as_metrics(answers(context, before, _facts(told), lease.should_stop)),
            after=as_metrics(now),
            original=as_metrics(original),
        )
        drift = _drift(ancestry)
        checked = check_revert(
            context, batch, _facts(stay), reverted, before, matrices, drift, lease.should_stop, report
        )
    made_with = {"reverts": reversal.entries(), "optimised_again": sum(len(one.again) for one in affected.values())}
    return Candidate(
        base,
        deltas,
        matrices,
        checked,
        reports,
        reversal.statistics,
        made_with,
        reverts=reversal.entries(),
        put_in=reversal.put_in(),
    )


def _original_answers(
    context: WorkerContext, ancestry: Sequence[VersionRow], told: Sequence[LineageFact], lease: Lease
) -> list[Answer]:
    """What was answered where `told` were edited, on the version before each one's edit."""
    parents = {version.batch_id: version.parent for version in ancestry}
    found: list[Answer] = []
    for edit in dict.fromkeys(one.place.edit for one in told):
        parent = parents[edit]
        assert parent is not None
        own = [one for one in told if one.place.edit == edit]
        found += answers(context, context.matrices.get(parent), _facts(own), lease.should_stop)
    return found


def _answers_pinned(
    context: WorkerContext,
    reversal: Reversal,
    here: Sequence[LineageFact],
    told: Sequence[LineageFact],
    original: Sequence[Answer],
    lease: Lease,
) -> list[Answer]:
    """The answers where `told` were said. Of edits that could not be pinned at all of them, those that are not the
    original ones are pinned now, as far as there is room."""
    now = answers(context, reversal.matrices(), _facts(told), lease.should_stop)
    blurred = [one for one, was, found in zip(told, original, now, strict=True) if found != was]
    leaving = leaving_alone(here, blurred, reversal.affected)
    open_ones = {edit: facts for edit, facts in leaving.items() if facts and edit not in reversal.pinned}
    if not open_ones:
        return now
    reversal.pin(text_keys(context.model.backend_tokenizer, here, open_ones, reversal.affected, reversal.kept))
    return answers(context, reversal.matrices(), _facts(told), lease.should_stop)


def _facts(of: Sequence[LineageFact]) -> list[Fact]:
    return [Fact.model_validate(one.fact) for one in of]


def _solved(
    context: WorkerContext,
    batch: BatchRow,
    base: int,
    here: Sequence[LineageFact],
    told: Sequence[LineageFact],
    ancestry: Sequence[VersionRow],
    affected: dict[str, Affected],
    lease: Lease,
    report: TaskProgress,
) -> Reversal:
    kept = {edit: kept_edit(context, ancestry, edit) for edit in affected}
    layers = sorted({layer for one in kept.values() for layer in one.layers})
    statistics = {edit: statistics_of(context, one, report, lease.should_stop) for edit, one in kept.items()}
    reversal = Reversal(context, base, kept, affected, statistics, lease.should_stop)
    report("solving", 0, 1)
    leaving = leaving_alone(here, told, affected)
    reversal.take_out(text_keys(context.model.backend_tokenizer, here, leaving, affected, kept))
    facts = {(one.place.edit, one.place.index): Fact.model_validate(one.fact) for one in here}
    for edit, change in affected.items():
        if change.again:
            with context.database.writing() as session:
                batches.set_state(session, batches.get(session, batch.id), "optimising", subjects=len(change.again))
            reversal.optimise_again(edit, [[facts[edit, n] for n in numbers] for numbers in change.again.values()])
    with context.database.writing() as session:
        batches.set_state(session, batches.get(session, batch.id), "solving")
    report("solving", 1, 1)
    log.info("solved without", edits=len(affected), layers=layers)
    return reversal


def _require(here: Sequence[LineageFact], leaving: set[tuple[str, int]], base: int) -> None:
    standing = {(one.place.edit, one.place.index) for one in here if one.reverted_by is None}
    missing = sorted(leaving - standing)
    if missing:
        edit, index = missing[0]
        raise NotInLineageError(
            f"fact {index} of edit {edit!r} is not in {version_name(base)} any more ({len(missing)} of {len(leaving)} "
            "are not): an alias was moved, or another revert took it out, after this one was accepted"
        )


def _drift(ancestry: Sequence[VersionRow]) -> float | None:
    """What was measured when the newest version of the lineage was published."""
    measured = (ancestry[-1].metrics or {}).get("drift") or {}
    value: float | None = measured.get("value")
    return value
