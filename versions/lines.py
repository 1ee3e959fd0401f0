"""Lines: the batches that move one alias run one at a time, in the order in which they were accepted."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from api_schemas.edits import RUNNING_STATES
from api_schemas.references import ModelReference, version_name
from configuration.redis_keys import control_queue, solve_queue
from versions import batches, lineage, tasks
from versions.clock import now
from versions.errors import NotFoundError, ParentMovedError
from versions.tables import BatchRow

_FIRST_TASKS = {"edit": ("plan", control_queue), "revert": ("revert", solve_queue)}


# Asked at every turn of the relay: hundreds of batches may wait on a line, and only its head is read.
_BUSY: Final = select(BatchRow.model, BatchRow.line).where(
    BatchRow.state.in_(RUNNING_STATES), BatchRow.line.is_not(None)
)
_QUEUED: Final = select(BatchRow).where(BatchRow.state == "queued")
_BRANCHES: Final = _QUEUED.where(BatchRow.line.is_(None))
_WAITING: Final = (
    select(BatchRow.model, BatchRow.line).where(BatchRow.state == "queued", BatchRow.line.is_not(None)).distinct()
)
_HEAD: Final = (
    _QUEUED.where(BatchRow.model == bindparam("of_model"), BatchRow.line == bindparam("of_line"))
    .order_by(BatchRow.urgent.desc(), BatchRow.seq)
    .limit(1)
)


def startable(session: Session) -> list[BatchRow]:
    """Queued batches at the head of a line on which nothing runs, and all queued branches.

    Urgent batches of a line come before the others that still wait.
    """
    taken = {tuple(line) for line in session.execute(_BUSY)}
    heads = list(session.scalars(_BRANCHES))
    for model, line in session.execute(_WAITING).all():
        if (model, line) not in taken:
            heads += session.scalars(_HEAD, {"of_model": model, "of_line": line})
    return sorted(heads, key=lambda row: (not row.urgent, row.seq))


def _fail(session: Session, row: BatchRow, code: str, title: str, detail: str) -> None:
    batches.fail(session, row, "failed", {"code": code, "title": title, "detail": detail, "facts": []})


def _another_parent(row: BatchRow, found: int) -> str:
    assert row.if_match is not None
    return (
        f"If-Match {version_name(row.if_match)}: {row.requested} was moved to {version_name(found)} while the batch "
        f"waited; look at that version and send it again, or as a branch to {row.model}@{version_name(row.if_match)}"
    )


def advance(session: Session) -> list[BatchRow]:
    """Start every batch that can run now: pin its parent and write its first task."""
    started = []
    for row in startable(session):
        try:
            base = lineage.resolve(session, ModelReference(row.model, version=row.branch_of, alias=row.line))
        except NotFoundError as error:
            _fail(session, row, error.code, "The parent is gone", str(error))
            continue
        if row.if_match not in (None, base.number):
            _fail(session, row, ParentMovedError.code, "The parent moved", _another_parent(row, base.number))
            continue
        row.base_version = base.number
        row.started_at = now()
        batches.set_state(session, row, "planning", base_version=base.number)
        batches.set_progress(session, row, "planning", 0, row.facts, None)
        kind, queue = _FIRST_TASKS[row.kind]
        tasks.create(session, model=row.model, queue=queue(row.model), kind=kind, batch_id=row.id)
        started.append(row)
    return started
