"""What is an edit batch's own: what it is accepted on, its facts, and its states on the way to a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, func, insert, literal, or_, select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES, EditState
from api_schemas.references import LATEST, ModelReference, version_name
from configuration import tracing
from store.clock import now
from store.errors import (
    AliasGuardedError,
    AliasProtectedError,
    BatchNotFoundError,
    ConflictError,
    QueueFullError,
)
from store.lineage import alias_requests
from store.lineage import versions as lineage
from store.lineage.questions import question_of
from store.lineage.versions import ResolvedReference
from store.schema.tables import AliasRow, BatchRow, FactRow
from store.work import events, lifecycle, telling
from store.work.kinds import EDIT

# Written once, as what is executed for every batch is.
_UNFINISHED_AND_NEWEST: Final = select(
    select(func.count())
    .select_from(BatchRow)
    .where(BatchRow.model == bindparam("name"), BatchRow.state.not_in(FINAL_STATES))
    .scalar_subquery(),
    select(func.max(BatchRow.seq)).scalar_subquery(),
)
_NEW_FACTS: Final = insert(FactRow)
_MOST_NAMED: Final = 3


@dataclass(frozen=True)
class NewBatch:
    """A request that has been checked. `facts` are dumps of `api_schemas.facts.Fact`.

    `if_match` is the only version that the caller wants it to be made on.
    `budget` is what its lineage may use up.
    A revert names in `reverts` the facts it takes out, [{"edit": id, "facts": [index]}]; `facts` are those facts.
    `left_out` is what was sent and is not edited, [{"index": number, "loc": field, "msg": what is wrong}].
    A consolidation names in `consolidates` the version that says its facts, and in `origins` where each is from.
    """

    reference: ModelReference
    algorithm: str
    settings: dict[str, Any]
    thresholds: dict[str, float]
    facts: Sequence[dict[str, Any]]
    left_out: Sequence[dict[str, Any]] = ()
    reverts: list[dict[str, Any]] | None = None
    consolidates: int | None = None
    origins: Sequence[dict[str, Any]] | None = None
    budget: dict[str, float] | None = None
    label: str | None = None
    dry_run: bool = False
    urgent: bool = False
    moves_protected: bool = False
    if_match: int | None = None
    caller: str = ""
    idempotency_key: str | None = None
    body_sha256: str | None = None

    @property
    def kind(self) -> str:
        if self.consolidates is not None:
            return "consolidation"
        return "edit" if self.reverts is None else "revert"


def check_unmoved(reference: ModelReference, expected: int | None, found: int) -> None:
    """Raise ConflictError where a caller expects another version than `reference` is now."""
    if expected is not None and expected != found:
        raise ConflictError(f"If-Match v{expected}: {reference} is v{found} now")


def _check_nothing_stands_before(session: Session, new: NewBatch) -> None:
    """Raise ConflictError where batches would run first that may move the alias from what the caller expects."""
    line = new.reference.alias
    if new.if_match is None or line is None:
        return
    before = select(BatchRow.id).where(
        BatchRow.model == new.reference.name,
        BatchRow.line == line,
        BatchRow.state.not_in(FINAL_STATES),
        BatchRow.dry_run.is_(False),
        BatchRow.cancel_requested.is_(False),
    )
    if new.urgent:  # which passes those that wait
        before = before.where(or_(BatchRow.urgent.is_(True), BatchRow.state != "queued"))
    ids = list(session.scalars(before.order_by(BatchRow.seq).limit(_MOST_NAMED + 1)))
    if ids:
        named = ", ".join(ids[:_MOST_NAMED]) + (" and others" if len(ids) > _MOST_NAMED else "")
        raise ConflictError(
            f"If-Match {version_name(new.if_match)}: {named} run before this batch and may move {line!r} on; wait "
            "until they have ended, or send it without If-Match"
        )


def accept(session: Session, new: NewBatch, *, most_queued: int) -> tuple[BatchRow, bool]:
    """Write the batch and its facts; (row, False) if the same Idempotency-Key brought the same body before."""
    known = accepted_before(session, new.caller, new.idempotency_key, new.body_sha256)
    if known is not None:
        return known, False
    resolved = lineage.resolve_number(session, new.reference)
    _check_protection(session, new, resolved)
    _check_guard(session, new)
    check_unmoved(new.reference, new.if_match, resolved.version)
    _check_nothing_stands_before(session, new)
    unfinished, newest = session.execute(_UNFINISHED_AND_NEWEST, {"name": new.reference.name}).one()
    if unfinished >= most_queued:
        raise QueueFullError(EDIT.queue_full.format(most=most_queued, model=new.reference.name))
    row = lifecycle.create(
        session,
        EDIT,
        len(new.facts),
        seq=(newest or 0) + 1,
        kind=new.kind,
        model=new.reference.name,
        requested=str(new.reference),
        line=new.reference.alias,
        branch_of=new.reference.version,
        algorithm=new.algorithm,
        settings=new.settings,
        thresholds=new.thresholds,
        budget=new.budget,
        label=new.label,
        dry_run=new.dry_run,
        urgent=new.urgent,
        facts=len(new.facts),
        left_out=list(new.left_out) or None,
        left_out_count=len(new.left_out) or None,
        reverts=new.reverts,
        consolidates=new.consolidates,
        if_match=new.if_match,
        moves_protected=new.moves_protected,
        caller=new.caller,
        idempotency_key=new.idempotency_key,
        body_sha256=new.body_sha256,
        traceparent=tracing.traceparent(),
    )
    rows: list[dict[str, Any]] = [
        {"batch_id": row.id, "number": n, "fact": fact, "question": question_of(fact)}
        for n, fact in enumerate(new.facts)
    ]
    for values, origin in zip(rows, new.origins or (), strict=False):
        values["origin"] = origin
    # Past the ORM: nothing but rows is wanted of it here.
    session.connection().execute(_NEW_FACTS, rows)
    return row, True


def _check_protection(session: Session, new: NewBatch, resolved: ResolvedReference) -> None:
    if resolved.approval:  # publishing will ask for the move
        alias = lineage.alias_named(session, new.reference.name, new.reference.alias or LATEST)
        if alias is not None and not new.dry_run:
            alias_requests.check_room(alias, len(alias_requests.open_of(session, alias)))
        return
    if resolved.protected and not new.moves_protected and not new.dry_run:
        raise AliasProtectedError(
            f"alias {new.reference.alias!r} is protected, and a batch on it would move it; send the batch to "
            f"{new.reference.name}@{version_name(resolved.version)} as a branch, or with the rights of an administrator"
        )


def _check_guard(session: Session, new: NewBatch) -> None:
    """What a guard demands of a version is measured after it was published, so that no edit may move the alias."""
    if new.reference.alias in (None, LATEST) or new.dry_run:
        return
    row = session.get(AliasRow, (new.reference.name, new.reference.alias))
    if row is not None and row.guard is not None:
        raise AliasGuardedError(
            f"alias {row.alias!r} is guarded, and a batch on it would move it unmeasured; send the batch to "
            f"{row.model}@{version_name(row.version)} as a branch, measure its version, and move the alias then"
        )


def accepted_before(session: Session, caller: str, key: str | None, body_sha256: str | None) -> BatchRow | None:
    """The batch that came with this Idempotency-Key. Raises IdempotencyConflictError if its body was another."""
    return lifecycle.accepted_before(session, EDIT, caller, key, body_sha256)


def get(session: Session, batch_id: str) -> BatchRow:
    return lifecycle.get(session, EDIT, batch_id)


def lock(session: Session, batch_id: str) -> BatchRow:
    """The batch's row, held until this transaction ends (SQLite's writing transactions hold everything anyway)."""
    row = session.get(BatchRow, batch_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise BatchNotFoundError(f"no edit {batch_id!r}")
    return row


def facts(session: Session, batch_id: str, first: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
    """The batch's facts in the caller's order."""
    query = select(FactRow.fact).where(FactRow.batch_id == batch_id, FactRow.number >= literal(first, BigInteger))
    return list(session.scalars(query.order_by(FactRow.number).limit(limit)))


def origins(session: Session, batch_id: str) -> list[dict[str, Any]]:
    """Of a consolidation: where each of its facts is from, in their order."""
    query = select(FactRow.origin).where(FactRow.batch_id == batch_id).order_by(FactRow.number)
    return [origin for origin in session.scalars(query) if origin is not None]


def set_state(session: Session, row: BatchRow, state: EditState, **data: Any) -> None:
    """Move the batch on; the change is an event. A final state stays."""
    if row.state in FINAL_STATES or row.state == state:
        return
    row.state = state
    if state in FINAL_STATES:
        row.finished_at = now()
    events.append(session, row.id, state, data)
    if state in FINAL_STATES:
        telling.edit_finished(session, row)
