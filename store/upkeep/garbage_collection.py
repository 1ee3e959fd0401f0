"""Garbage collection: blobs that nothing in SQL names any more, once they are old enough that nobody is about to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from store.access import audit
from store.access.audit import Actor
from store.blobs.blob_store import BlobStore, StoredBlob
from store.clock import now
from store.schema.database import Database
from store.schema.tables import BatchRow, ExportRow, ModelRow, StatisticRow, TaskRow, VersionRow
from store.work import exports, lifecycle
from store.work.statistics import shared_blobs


@dataclass(frozen=True)
class GarbageCollection:
    """What was, or would be, deleted. `kept` counts the blobs that stay, `exports` the files on demand that expired."""

    blobs: tuple[StoredBlob, ...]
    kept: int
    exports: int

    @property
    def bytes(self) -> int:
        return sum(blob.bytes for blob in self.blobs)


def collect(database: Database, blobs: BlobStore, grace: timedelta, actor: Actor, *, delete: bool) -> GarbageCollection:
    """Find, and with `delete` delete, blobs that nothing names and that were not put within `grace`.

    Named are: the deltas and matrices of all versions, the models' tokenizers, statistics that workers share, values of
    batches that have not ended, and exports younger than `grace`. Safe beside running processes: a blob is put before
    it is named, and putting it starts its time of grace anew. Each blob's name is looked up again before it goes.
    What went is told in the audit log.
    """
    before = now() - grace
    expired = _expire_exports(database, before, delete=delete)
    with database.reading() as session:
        named = _named_or_shared(session, exports_since=before)
    garbage, kept = [], 0
    for blob in sorted(blobs.entries(), key=lambda blob: blob.sha256):
        if blob.sha256 in named or blob.put_at >= before:
            kept += 1
        else:
            garbage.append(blob)
    if delete:
        blobs.sweep(before)
        with database.reading() as session:
            named = _named_or_shared(session, exports_since=before)
        garbage = [blob for blob in garbage if blob.sha256 not in named and blobs.discard(blob.sha256, before)]
    collection = GarbageCollection(tuple(garbage), kept, expired)
    if delete and (garbage or expired):
        with database.writing() as session:
            audit.record(
                session,
                actor,
                "blobs.collected",
                blobs=len(garbage),
                bytes=collection.bytes,
                exports=expired,
                before=before.isoformat(timespec="seconds"),
            )
    return collection


def discard_exports(database: Database, blobs: BlobStore, removed_exports: Mapping[str, datetime]) -> int:
    """Delete the blobs of exports whose rows are `removed_exports`, and when those were finished; how many were
    deleted.

    One that something else names stays, and one that was put again since then: somebody is about to name it.
    """
    if not removed_exports:
        return 0
    with database.reading() as session:
        named = named_blobs(session, exports_since=datetime(1970, 1, 1, tzinfo=UTC))
    return sum(blobs.discard(sha256, before) for sha256, before in removed_exports.items() if sha256 not in named)


def named_blobs(session: Session, exports_since: datetime) -> set[str]:
    """All that must not go: whatever a row names, of exports those that ended since then."""
    names: set[str | None] = set()
    for column in (VersionRow.blob, VersionRow.matrices_blob, ModelRow.tokenizer_blob):
        names |= set(session.scalars(select(column)))
    for blobs in session.scalars(select(VersionRow.matrix_blobs).where(VersionRow.matrix_blobs.is_not(None))):
        names |= set((blobs or {}).values())
    names |= set(session.scalars(select(ExportRow.blob).where(ExportRow.finished_at >= exports_since)))
    running = select(BatchRow.id).where(BatchRow.state.not_in(FINAL_STATES))
    for result in session.scalars(select(TaskRow.result).where(TaskRow.batch_id.in_(running))):
        names.add((result or {}).get("blob"))
    return {name for name in names if name is not None}


def _named_or_shared(session: Session, exports_since: datetime) -> set[str]:
    """Those, and the statistics that workers share: they can be made again, and a backup goes without them."""
    reports = session.scalars(select(StatisticRow.report))
    return named_blobs(session, exports_since).union(*(shared_blobs(report).values() for report in reports))


def _expire_exports(database: Database, before: datetime, *, delete: bool) -> int:
    """Exports that ended before then can be made again from their version."""
    if not delete:
        with database.reading() as session:
            return len(exports.ended_before(session, before))
    with database.writing() as session:
        expired = exports.ended_before(session, before)
        for row in expired:
            lifecycle.remove(session, row)
        return len(expired)
