"""What is kept for how long: old versions go where nothing needs them, old texts go while the deltas stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from versions import audit, deletion
from versions.audit import Actor
from versions.clock import now
from versions.database import Database
from versions.tables import BatchRow, EvaluationRow, FactRow, ModelRow, TaskRow, VersionRow

REMOVED = "[removed]"
"""What stands where a text was."""


@dataclass(frozen=True)
class Policy:
    """How long each kind is kept; None is for ever. The newest `keep_versions` of a model stay whatever their age."""

    versions: timedelta | None = None
    keep_versions: int = 10
    facts: timedelta | None = None
    evaluations: timedelta | None = None


@dataclass
class Applied:
    """What went, or would go: versions as (model, number), ids of edits without their texts, and of evaluations."""

    versions: list[tuple[str, int]] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)


class _WouldBe(Exception):
    """Ends a transaction in which nothing shall be kept."""


def apply(database: Database, policy: Policy, actor: Actor, *, really: bool) -> Applied:
    """Do, or only tell, what the policy says. One transaction: nobody edits on a version while it goes."""
    applied = Applied()
    try:
        with database.writing() as session:
            if policy.versions is not None:
                applied.versions = _versions(session, policy, policy.versions, actor)
            if policy.facts is not None:
                applied.edits = _facts(session, policy.facts, actor)
            if policy.evaluations is not None:
                applied.evaluations = _evaluations(session, policy.evaluations, actor)
            if not really:
                raise _WouldBe
    except _WouldBe:
        pass
    return applied


def is_removed(fact: dict[str, Any]) -> bool:
    """Whether the fact's text was removed."""
    return bool(fact.get("target_new") == REMOVED)


def _versions(session: Session, policy: Policy, age: timedelta, actor: Actor) -> list[tuple[str, int]]:
    """Newest first, so that a branch goes from its end as far as nothing needs it."""
    gone = []
    for model in session.scalars(select(ModelRow.name).order_by(ModelRow.name)):
        query = select(VersionRow).where(VersionRow.model == model, VersionRow.state != deletion.DELETED)
        for row in list(session.scalars(query.order_by(VersionRow.number.desc()).offset(policy.keep_versions))):
            if row.created_at < now() - age and not deletion.needed_by(session, model, row.number):
                deletion.delete(session, actor, model, row.number)
                gone.append((model, row.number))
    return gone


def _facts(session: Session, age: timedelta, actor: Actor) -> list[str]:
    """Texts of edits that ended so long ago, but for those that an unfinished revert still needs."""
    needed = {
        entry["edit"]
        for reverts in session.scalars(
            select(BatchRow.reverts).where(BatchRow.state.not_in(FINAL_STATES), BatchRow.kind == "revert")
        )
        for entry in reverts or ()
    }
    old = select(BatchRow).where(BatchRow.finished_at < now() - age).order_by(BatchRow.seq)
    gone = []
    for batch in session.scalars(old):
        first = session.get(FactRow, (batch.id, 0))
        if batch.id in needed or first is None or is_removed(first.fact):
            continue
        for number in range(batch.facts):
            # Another subject for each: none of them shall seem to answer another's question.
            blank = {"prompt": f"{REMOVED} {{}}", "subject": f"{batch.id} {number}", "target_new": REMOVED}
            session.execute(
                update(FactRow).where(FactRow.batch_id == batch.id, FactRow.number == number).values(fact=blank)
            )
        if batch.error is not None:  # which may quote a fact
            batch.error = {**batch.error, "detail": REMOVED}
        audit.record(session, actor, "edit.facts_removed", model=batch.model, target=batch.id, facts=batch.facts)
        gone.append(batch.id)
    return gone


def _evaluations(session: Session, age: timedelta, actor: Actor) -> list[str]:
    old = list(session.scalars(select(EvaluationRow).where(EvaluationRow.finished_at < now() - age)))
    for row in old:
        session.execute(delete(TaskRow).where(TaskRow.evaluation_id == row.id))
        audit.record(session, actor, "evaluation.deleted", model=row.model, target=row.id)
        session.delete(row)
    session.flush()
    return [row.id for row in old]
