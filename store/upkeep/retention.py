"""Retention: deletes old versions that nothing needs, matrices that can be made again, and the texts of old edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.lineage.questions import REMOVED, is_removed, question_of
from store.schema.database import Database
from store.schema.tables import BatchRow, EvaluationRow, FactRow, ModelRow, VersionRow
from store.upkeep import deletion, matrices
from store.work import batches, events, lifecycle
from store.work.kinds import EVALUATION


@dataclass(frozen=True)
class RetentionPolicy:
    """How long each kind is kept; None is for ever. The newest `keep_versions` of a model stay whatever their age.

    `matrices` are those of versions that no alias points at.
    """

    versions: timedelta | None = None
    keep_versions: int = 10
    matrices: timedelta | None = None
    facts: timedelta | None = None
    evaluations: timedelta | None = None
    audit: timedelta | None = None


@dataclass
class RetentionResult:
    """What went, or would go: versions as (model, number), such whose matrices went, ids of edits without their texts,
    and of evaluations.

    `audit_entries` is how many entries of the audit log.
    """

    versions: list[tuple[str, int]] = field(default_factory=list)
    matrices: list[tuple[str, int]] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    audit_entries: int = 0


class _DryRun(Exception):
    """Ends a transaction in which nothing shall be kept."""


def apply(database: Database, policy: RetentionPolicy, actor: Actor, *, execute: bool) -> RetentionResult:
    """Apply the policy, or with `execute` false only list what it would remove. Texts go edit by edit, so that other
    writers get their turn."""
    result = RetentionResult()
    if policy.versions is not None:
        try:
            with database.writing() as session:  # nobody edits on a version while it goes
                result.versions = _versions(session, policy, policy.versions, actor)
                if not execute:
                    raise _DryRun
        except _DryRun:
            pass
    if policy.matrices is not None:
        result.matrices = matrices.drop(database, policy.matrices, policy.keep_versions, actor, execute=execute)
    with database.reading() as session:
        if policy.facts is not None:
            result.edits = _old_edits(session, policy.facts)
        if policy.evaluations is not None:
            result.evaluations = _old_evaluations(session, policy.evaluations)
    if execute:
        for edit in list(result.edits):
            with database.writing() as session:
                if edit in _needed_by_reverts(session):  # since a moment ago
                    result.edits.remove(edit)
                else:
                    _remove_texts(session, batches.get(session, edit), actor)
        for evaluation in result.evaluations:
            with database.writing() as session:
                _remove_evaluation(session, evaluation, actor)
    if policy.audit is not None:
        result.audit_entries = _audit_entries(database, now() - policy.audit, actor, execute=execute)
    return result


def _versions(session: Session, policy: RetentionPolicy, age: timedelta, actor: Actor) -> list[tuple[str, int]]:
    """Newest first, so that a branch goes from its end as far as nothing needs it."""
    deleted = []
    for model in session.scalars(select(ModelRow.name).order_by(ModelRow.name)):
        query = select(VersionRow).where(VersionRow.model == model, VersionRow.state != deletion.DELETED)
        for row in list(session.scalars(query.order_by(VersionRow.number.desc()).offset(policy.keep_versions))):
            if row.created_at < now() - age and not deletion.needed_by(session, model, row.number):
                deletion.delete(session, actor, model, row.number)
                deleted.append((model, row.number))
    return deleted


def _old_edits(session: Session, age: timedelta) -> list[str]:
    """Edits that ended so long ago and have texts, but for those that an unfinished revert still needs."""
    needed = _needed_by_reverts(session)
    first = select(BatchRow.id, FactRow.fact).join(FactRow, (FactRow.batch_id == BatchRow.id) & (FactRow.number == 0))
    old = first.where(BatchRow.finished_at < now() - age).order_by(BatchRow.seq)
    return [edit for edit, fact in session.execute(old) if edit not in needed and not is_removed(fact)]


def _needed_by_reverts(session: Session) -> set[str]:
    """Edits whose facts are being taken out: their texts say how."""
    running = select(BatchRow.reverts).where(BatchRow.state.not_in(FINAL_STATES), BatchRow.kind == "revert")
    return {entry["edit"] for reverts in session.scalars(running) for entry in reverts or ()}


def _remove_texts(session: Session, batch: BatchRow, actor: Actor) -> None:
    # Another subject for each: none of them shall seem to answer another's question.
    blank = [
        {"prompt": f"{REMOVED} {{}}", "subject": f"{batch.id} {number}", "target_new": REMOVED}
        for number in range(batch.facts)
    ]
    rows = [
        {"batch_id": batch.id, "number": number, "fact": fact, "question": question_of(fact)}
        for number, fact in enumerate(blank)
    ]
    session.execute(update(FactRow), rows)
    batch.left_out = None  # which quotes facts
    if batch.error is not None:  # which may quote a fact
        batch.error = {**batch.error, "detail": REMOVED}
        events.replace_error_details(session, batch.id, REMOVED)
    audit.record(session, actor, "edit.facts_removed", model=batch.model, target=batch.id, facts=batch.facts)


def _audit_entries(database: Database, moment: datetime, actor: Actor, *, execute: bool) -> int:
    if not execute:
        with database.reading() as session:
            return audit.entries_before(session, moment)
    total = 0
    while True:
        with database.writing() as session:
            deleted = audit.prune(session, actor, moment)
        total += deleted
        if deleted < audit.PRUNED_AT_ONCE:
            return total


def _old_evaluations(session: Session, age: timedelta) -> list[str]:
    return list(session.scalars(select(EvaluationRow.id).where(EvaluationRow.finished_at < now() - age)))


def _remove_evaluation(session: Session, evaluation_id: str, actor: Actor) -> None:
    row = lifecycle.get(session, EVALUATION, evaluation_id)
    audit.record(session, actor, "evaluation.deleted", model=row.model, target=row.id)
    lifecycle.remove(session, row)
