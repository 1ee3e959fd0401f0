"""Lines: the batches that move one alias run one at a time, in the order in which they were accepted.

But for urgent ones: one at a time passes a batch that is not being solved yet.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from api_schemas.edits import RUNNING_STATES
from api_schemas.references import LATEST, ModelReference, version_name
from store.clock import now
from store.errors import NotFoundError, ParentMovedError
from store.lineage import versions as lineage
from store.schema.tables import BatchRow, VersionRow
from store.work import batches, lifecycle, tasks

_FIRST_TASKS: Final = {"edit": "plan", "revert": "revert", "consolidation": "plan_kept"}
_PASSABLE: Final = frozenset({"planning", "optimising"})
"""States in which a batch may be passed: what it wants is still being found out."""

# Asked at every turn of the relay: hundreds of batches may wait on a line, and only its head is read.
_BUSY: Final = (
    select(BatchRow.model, BatchRow.line)
    .where(BatchRow.state.in_(RUNNING_STATES), BatchRow.line.is_not(None))
    .distinct()
)
_QUEUED: Final = select(BatchRow).where(BatchRow.state == "queued")
_BRANCHES: Final = _QUEUED.where(BatchRow.line.is_(None))
_WAITING: Final = (
    select(BatchRow.model, BatchRow.line).where(BatchRow.state == "queued", BatchRow.line.is_not(None)).distinct()
)
_ON_LINE: Final = (BatchRow.model == bindparam("of_model"), BatchRow.line == bindparam("of_line"))
_HEAD: Final = _QUEUED.where(*_ON_LINE).order_by(BatchRow.urgent.desc(), BatchRow.seq).limit(1)
_URGENT: Final = _QUEUED.where(*_ON_LINE, BatchRow.urgent.is_(True)).order_by(BatchRow.seq).limit(1)
_RUNNING: Final = select(BatchRow).where(*_ON_LINE, BatchRow.state.in_(RUNNING_STATES))


def startable(session: Session) -> list[BatchRow]:
    """Queued batches at the head of a line on which nothing runs, urgent ones that may pass, and all queued branches.

    Urgent batches of a line come before the others that still wait, in their own order.
    """
    busy = {tuple(line) for line in session.execute(_BUSY)}
    heads = list(session.scalars(_BRANCHES))
    for model, line in session.execute(_WAITING).all():
        of = {"of_model": model, "of_line": line}
        if (model, line) not in busy:
            heads += session.scalars(_HEAD, of)
            continue
        urgent = session.scalar(_URGENT, of)
        if urgent is not None and all(
            _may_be_passed(session, by=urgent, row=row) for row in session.scalars(_RUNNING, of)
        ):
            heads.append(urgent)
    return sorted(heads, key=lambda row: (not row.urgent, row.seq))


def _may_be_passed(session: Session, *, by: BatchRow, row: BatchRow) -> bool:
    """Whether the urgent batch `by` may run beside `row`, which is carried over to its version afterwards.

    Not where `row` is urgent itself, is being solved already, is wanted on its present parent alone, or where it could
    not be carried over: what an edit wants holds on a parent that differs in no layers but its own.
    """
    if row.urgent or row.state not in _PASSABLE or row.if_match is not None:
        return False
    if row.kind == "revert":  # made anew on any parent
        return True
    own, others = _layers(session, row), _layers(session, by)
    return own is not None and others is not None and others <= own


def _layers(session: Session, row: BatchRow) -> set[int] | None:
    """The layers that a batch may edit; None while its settings wait for a worker to complete them."""
    if row.kind == "revert":  # in any that its lineage was edited in: what later edits built on leaves them, too
        alias = lineage.alias_named(session, row.model, row.line or LATEST)
        parent = None if alias is None else session.get(VersionRow, (row.model, alias.version))
        return set() if parent is None else {int(layer) for layer in parent.matrix_hashes}
    layers = row.settings.get("layers")
    return None if layers is None else set(layers)


def _fail(session: Session, row: BatchRow, code: str, title: str, detail: str) -> None:
    lifecycle.end(session, row, "failed", {"code": code, "title": title, "detail": detail, "facts": []})


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
        lifecycle.set_progress(row, "planning", 0, row.facts, None)
        tasks.create(session, of=row, kind=_FIRST_TASKS[row.kind])
        started.append(row)
    return started
