"""The life of a job, whatever its kind: it is accepted, waits, is worked on, and succeeds, fails or is cancelled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeVar

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, object_session

from api_schemas.edits import FINAL_STATES
from store.clock import new_id, now
from store.errors import IdempotencyConflictError
from store.schema.database import note_change
from store.schema.tables import JobRow, KeyedRow, SequencedRow, StoppableRow, TaskRow
from store.work import events, tasks, telling
from store.work.kinds import KINDS, JobKind, Listed, Row, belongs_to, job_id, kind_of, kind_of_task

Keyed = TypeVar("Keyed", bound=KeyedRow)
_UNATTENDED: Final = "cancelled on request, while no worker was at it"


def create(session: Session, kind: JobKind[Row], total: float, /, **columns: Any) -> Row:
    """A queued job with `total` pieces of work before it, and its task, unless it waits for its line first."""
    if issubclass(kind.row, SequencedRow) and "seq" not in columns:
        columns["seq"] = (session.scalar(select(func.max(kind.row.seq))) or 0) + 1
    row = kind.row(
        id=new_id(kind.id_prefix),
        state="queued",
        progress={"stage": "queued", "done": 0, "total": total},
        created_at=now(),
        **columns,
    )
    session.add(row)
    session.flush()
    if kind.keeps_events:
        events.append(session, row.id, "queued")
    if not kind.waits_for_line:
        tasks.create(session, of=row, kind=kind.tasks[0].name)
    return row


def accepted_before(
    session: Session, kind: JobKind[Keyed], caller: str, key: str | None, body_sha256: str | None
) -> Keyed | None:
    """The job that came with this Idempotency-Key. Raises IdempotencyConflictError if its body was another."""
    if key is None:
        return None
    row = session.scalar(select(kind.row).where(kind.row.caller == caller, kind.row.idempotency_key == key))
    if row is not None and row.body_sha256 != body_sha256:
        raise IdempotencyConflictError(
            f"Idempotency-Key {key!r} was used with another body; use a new key for a new request"
        )
    return row


def get(session: Session, kind: JobKind[Row], row_id: str) -> Row:
    """Raises the kind's own NotFoundError."""
    row = session.get(kind.row, row_id)
    if row is None:
        raise kind.not_found(f"no {kind.name} {row_id!r}{kind.remedy_if_missing}")
    return row


def of_task(session: Session, task: TaskRow) -> JobRow | None:
    """The job that the task belongs to."""
    kind = kind_of_task(task)
    if kind is None:
        return None
    found: JobRow = get(session, kind, job_id(task, kind) or "")
    return found


def page(
    session: Session,
    kind: JobKind[Listed],
    model: str | None,
    before_seq: int | None,
    limit: int,
    *,
    models: Collection[str] | None = None,
) -> list[Listed]:
    """Newest first, of `model` and of `models` alone where given; one more than `limit` if there are others."""
    query = select(kind.row)
    if model is not None:
        query = query.where(kind.row.model == model)
    if models is not None:
        query = query.where(kind.row.model.in_(models))
    if before_seq is not None:
        query = query.where(kind.row.seq < before_seq)
    return list(session.scalars(query.order_by(kind.row.seq.desc()).limit(limit + 1)))


def unfinished(session: Session, kind: JobKind[Any], model: str) -> int:
    """How many of the model wait or run."""
    query = select(func.count()).select_from(kind.row)
    return session.scalar(query.where(kind.row.model == model, kind.unfinished)) or 0


def has_ended(row: JobRow) -> bool:
    return row.state in FINAL_STATES


def set_progress(row: JobRow, stage: str, done: float, total: float, eta: float | None) -> None:
    """A zombie's progress changes nothing of a job that has ended."""
    if not has_ended(row):
        row.progress = _progress(stage, done, total, eta)
        session = object_session(row)
        if session is not None and kind_of(row).keeps_events:
            note_change(session, row.id)


def write_progress(
    session: Session, kind: JobKind[Any], row_id: str, stage: str, done: float, total: float, eta: float | None
) -> None:
    """`set_progress` in one statement, which reads nothing of the row and needs no turn among writers."""
    progress = _progress(stage, done, total, eta)
    session.execute(update(kind.row).where(kind.row.id == row_id, kind.unfinished).values(progress=progress))
    if kind.keeps_events:
        note_change(session, row_id)


def _progress(stage: str, done: float, total: float, eta: float | None) -> dict[str, Any]:
    return {"stage": stage, "done": done, "total": total, "eta_seconds": eta}


def succeed(row: JobRow, total: float) -> None:
    """End a job whose outcome is in its row, with all of its `total` pieces done."""
    row.state, row.finished_at = "succeeded", now()
    row.progress = {"stage": "done", "done": total, "total": total}


def end(session: Session, row: JobRow, state: str, error: dict[str, Any]) -> None:
    """End a job as failed, rejected or cancelled with its reason; nothing more of it shall run. An end stays."""
    if not has_ended(row):
        row.state, row.error, row.finished_at = state, error, now()
        if kind_of(row).keeps_events:
            events.append(session, row.id, state, {"error": error})
        telling.edit_finished(session, row)
    # A worker that was thought dead and goes on finds its task withdrawn when it wants to commit.
    tasks.withdraw(session, row)


def end_with_error(session: Session, row: JobRow, error: dict[str, Any]) -> None:
    """End a job whose task ended with `error`."""
    cancelled = error["code"] == "cancelled" and kind_of(row).can_be_cancelled
    end(session, row, "cancelled" if cancelled else "failed", error)


def cancel(session: Session, row: Row) -> Row:
    """Cancel at once what no worker is at; of a stoppable kind, ask a worker that is at it to stop at its next step.

    Under a worker of any other kind the job ends now, and the worker learns with its lease that nobody waits for it.
    """
    if has_ended(row):
        return row
    if not isinstance(row, StoppableRow):
        _cancel(session, row, "cancelled on request")
    elif row.state == "queued":
        _cancel(session, row, "cancelled before it began")
    else:
        row.cancel_requested = True
        if not tasks.is_held(session, row):
            _cancel(session, row, _UNATTENDED)
    return row


def is_asked_to_stop(session: Session, task: TaskRow) -> bool:
    """Whether whoever works on the task shall stop at its next step."""
    kind = kind_of_task(task)
    if kind is None or not kind.is_stoppable:
        return False
    asked: bool | None = session.scalar(select(kind.row.cancel_requested).where(kind.row.id == job_id(task, kind)))
    return bool(asked)


def cancel_unattended(session: Session) -> list[JobRow]:
    """End what was to stop at its next step, and whose workers died or gave it back before they heard of it."""
    ended = unattended(session)
    for row in ended:
        _cancel(session, row, _UNATTENDED)
    return ended


def unattended(session: Session) -> list[JobRow]:
    """Jobs that somebody asked to cancel, and that no worker is at any more."""
    found: list[JobRow] = []
    for kind in KINDS:
        if issubclass(kind.row, StoppableRow):
            asked = select(kind.row).where(kind.row.state.in_(kind.running_states), kind.row.cancel_requested)
            found += [row for row in session.scalars(asked) if not tasks.is_held(session, row)]
    return found


def remove(session: Session, row: JobRow) -> None:
    """The row with its tasks and what belongs to it; its blobs go with the garbage."""
    session.execute(delete(TaskRow).where(belongs_to(row)))
    for column in kind_of(row).belongings:
        session.execute(delete(column.class_).where(column == row.id))
    session.flush()
    session.delete(row)


def _cancel(session: Session, row: JobRow, detail: str) -> None:
    end(session, row, "cancelled", {"code": "cancelled", "title": "Cancelled", "detail": detail, "facts": []})
