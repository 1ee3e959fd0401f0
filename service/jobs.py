"""What the resources of all kinds of jobs do alike: room in the queue, reading one, listing them, cancelling one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy.orm import Session

from service.errors import BusyError
from service.http.cursors import read_cursor, write_cursor
from service.resources import Resources
from store.access import audit
from store.lineage import models
from store.work import lifecycle
from store.work.kinds import JobKind, Listed, Row
from store.work.lifecycle import Keyed

_RETRY_SECONDS: Final = 30

View = TypeVar("View")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SentKey:
    """A request's Idempotency-Key, where it has one, with a hash of what was sent under it."""

    key: str | None
    body_sha256: str | None

    @staticmethod
    def of(key: str | None, body: bytes) -> SentKey:
        return SentKey(key, None if key is None else hashlib.sha256(body).hexdigest())

    def accepted(self, session: Session, kind: JobKind[Keyed], caller: str) -> Keyed | None:
        """The job that came with it before. Raises IdempotencyConflictError if its body was another."""
        return lifecycle.accepted_before(session, kind, caller, self.key, self.body_sha256)


def accepted_before(
    resources: Resources, kind: JobKind[Keyed], key: SentKey, view: Callable[[Keyed], View]
) -> View | None:
    """The job that came with the key before, as clients see it.

    Looked for before anything else: whether the same would be accepted now is not asked. Raises
    IdempotencyConflictError, ModelNotGrantedError.
    """
    if key.key is None:
        return None
    with resources.database.reading() as session:
        row = key.accepted(session, kind, resources.caller.id)
        if row is None:
            return None
        resources.caller.check_owner(row.model, f"{kind.name} {row.id}")
        log.info("accepted before", **{kind.name: row.id})
        return view(row)


def check_room(resources: Resources, session: Session, kind: JobKind[Any], model: str) -> None:
    """Raise BusyError where as many of the kind wait for the model as may. Call it where writers take turns."""
    most = resources.settings.max_queued_batches
    if lifecycle.unfinished(session, kind, model) >= most:
        raise BusyError(kind.queue_full.format(most=most, model=model), retry_seconds=_RETRY_SECONDS)


def owned(resources: Resources, session: Session, kind: JobKind[Row], job_id: str) -> Row:
    """The job, of a model that the caller may see. Raises the kind's NotFoundError, ModelNotGrantedError."""
    row = lifecycle.get(session, kind, job_id)
    resources.caller.check_owner(row.model, f"{kind.name} {row.id}")
    return row


def page(
    resources: Resources, kind: JobKind[Listed], model: str | None, cursor: str | None, limit: int
) -> tuple[list[Listed], str | None]:
    """Those that the caller may see, newest first, and the cursor of the next page. Raises ModelNotFoundError."""
    before = read_cursor(kind.plural, cursor)
    with resources.database.reading() as session:
        if model is not None:
            models.get(session, model)
        rows = lifecycle.page(session, kind, model, before, limit, models=resources.caller.models)
        more = write_cursor(kind.plural, rows[limit - 1].seq) if len(rows) > limit else None
        return rows[:limit], more


def cancel(resources: Resources, kind: JobKind[Row], job_id: str) -> Row:
    """Cancel what no worker is at, and what runs at once or at its next step. What has ended stays as it is."""
    with resources.database.writing() as session:
        row = owned(resources, session, kind, job_id)
        if not lifecycle.has_ended(row):
            audit.record(session, resources.caller.actor, f"{kind.name}.cancelled", model=row.model, target=row.id)
        lifecycle.cancel(session, row)
    log.info("cancel asked for", state=row.state, **{kind.name: row.id})
    return row
