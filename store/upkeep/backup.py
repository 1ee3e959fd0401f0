"""Backup and restore: a snapshot of all rows with every blob that they name, in one folder with hashes.

    manifest.json           what there is, with the SHA-256 of every file of rows
    rows/<table>.jsonl      a row a line
    blobs/<aa>/<sha256>     as a folder of blobs has them

Rows are written as any database takes them: a backup of an SQLite file can be restored into PostgreSQL.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import DateTime, Table, func, insert, select, text
from sqlalchemy.orm import Session

from store.access import audit
from store.access.audit import Actor
from store.blobs.blob_store import BlobStore
from store.blobs.folder import FolderBlobStore
from store.clock import now
from store.errors import BackupError, BlobMissingError, RestoreRefusedError
from store.schema.base import Base, UtcDateTime
from store.schema.database import Database
from store.upkeep.garbage_collection import named_blobs
from store.upkeep.integrity import violations

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_ROWS_AT_ONCE: Final = 500
_MOST_SNAPSHOTS: Final = 5
"""Blobs are collected once in a while; a store that loses some with every snapshot is broken otherwise."""
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TableRows:
    rows: int
    sha256: str


@dataclass(frozen=True)
class BackupManifest:
    """What a backup holds. `revision` is that of the tables: only a release with the same ones can restore it."""

    made_at: str
    release: str
    revision: str
    tables: dict[str, TableRows]
    blobs: list[str]
    blob_bytes: int
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


def back_up(database: Database, blobs: BlobStore, target: Path) -> BackupManifest:
    """Write a backup into the new folder `target`; it is there as a whole or not at all.

    Safe beside running processes: rows are read in one snapshot, a blob is put before a row names it and never changes.
    Where one is deleted meanwhile that only the snapshot named, a later snapshot is taken. Raises BackupError and
    BlobError.
    """
    if target.exists():
        raise BackupError(f"{target} exists already; a backup is made in a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    try:
        (part / "rows").mkdir()
        for left in reversed(range(_MOST_SNAPSHOTS)):
            revision, tables, needed = _snapshot(database, part / "rows")
            try:
                size = _copy(needed, blobs, FolderBlobStore(part / "blobs"))
                break
            except BlobMissingError:
                if not left or not _was_collected(database, blobs, needed):
                    raise
        manifest = BackupManifest(now().isoformat(), version("emmetd"), revision, tables, needed, size)
        _write_durably(part / MANIFEST, json.dumps(asdict(manifest), indent=1).encode() + b"\n")
        _sync(part / "rows")
        _sync(part)
        part.rename(target)
        _sync(target.parent)
        return manifest
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _snapshot(database: Database, folder: Path) -> tuple[str, dict[str, TableRows], list[str]]:
    """All rows of one moment, written into `folder`: the revision of the tables, what they hold, and named blobs."""
    with database.reading() as session:
        (revision,) = MigrationContext.configure(session.connection()).get_current_heads()
        tables = {
            table.name: _write_rows(session, table, folder / f"{table.name}.jsonl")
            for table in Base.metadata.sorted_tables
        }
        return revision, tables, sorted(named_blobs(session, exports_since=_ALWAYS))


def _copy(needed: Sequence[str], blobs: BlobStore, copies: FolderBlobStore) -> int:
    """Make `copies` hold what is needed and nothing else; its bytes. Earlier snapshots' copies are used again."""
    for unneeded in {there.sha256 for there in copies.entries()} - set(needed):
        copies.path(unneeded).unlink()
    for sha256 in needed:
        if not copies.exists(sha256):
            copies.put(blobs.get(sha256))
    return sum(copies.size(sha256) for sha256 in needed)


def _was_collected(database: Database, blobs: BlobStore, needed: Sequence[str]) -> bool:
    """Whether no row names what is missing any more: its version was deleted, or its export expired, since they did."""
    missing = {sha256 for sha256 in needed if not blobs.exists(sha256)}
    with database.reading() as session:
        return not missing & named_blobs(session, exports_since=_ALWAYS)


def read_manifest(source: Path) -> BackupManifest:
    """Raises BackupError where there is none, or one that cannot be read."""
    try:
        found = json.loads((source / MANIFEST).read_bytes())
        if found["format"] != FORMAT:
            raise BackupError(f"{source} has format {found['format']}; this release reads format {FORMAT}")
        return BackupManifest(**{**found, "tables": {name: TableRows(**one) for name, one in found["tables"].items()}})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{source} is no backup: its {MANIFEST} cannot be read ({error})") from None


def verify(source: Path) -> BackupManifest:
    """The manifest, once every file was compared with it. Raises BackupError and BlobError."""
    manifest = read_manifest(source)
    for name, table in manifest.tables.items():
        try:
            digest = hashlib.sha256((source / "rows" / f"{name}.jsonl").read_bytes()).hexdigest()
        except OSError as error:
            raise BackupError(f"{source}: the rows of {name!r} cannot be read ({error.strerror})") from None
        if digest != table.sha256:
            raise BackupError(f"{source}: the rows of {name!r} do not match the manifest; take another backup")
    blobs = FolderBlobStore(source / "blobs")
    for sha256 in manifest.blobs:
        blobs.get(sha256)
    return manifest


def restore(source: Path, database: Database, blobs: BlobStore, actor: Actor) -> BackupManifest:
    """Put a backup into a migrated database without rows and a store without blobs; all of the rows or none.

    The audit log is the backup's, with one entry more: that it was restored.

    Raises RestoreRefusedError where something is there already or the tables are another release's; BackupError and
    BlobError where the backup is damaged, before anything was written.
    """
    manifest = verify(source)
    with database.reading() as session:
        (revision,) = MigrationContext.configure(session.connection()).get_current_heads()
        _check_empty(session, blobs)
    if revision != manifest.revision or set(manifest.tables) != set(Base.metadata.tables):
        raise RestoreRefusedError(
            f"the backup was made by release {manifest.release} with tables {manifest.revision}, this release has "
            f"{revision}; restore it with that release, then upgrade"
        )
    copies = FolderBlobStore(source / "blobs")
    for sha256 in manifest.blobs:
        blobs.put(copies.get(sha256))
    with database.writing() as session:
        _check_empty(session, None)
        for table in Base.metadata.sorted_tables:
            for rows in _read_rows(table, source / "rows" / f"{table.name}.jsonl"):
                session.execute(insert(table), rows)
            if not database.is_sqlite:
                _continue_counting(session, table)
        audit.record(
            session,
            actor,
            "store.restored",
            target=str(source),
            made_at=manifest.made_at,
            release=manifest.release,
            rows=manifest.rows,
            blobs=len(manifest.blobs),
        )
    wrong = violations(database, blobs)
    if wrong:
        raise BackupError(f"the backup was restored, and does not hold together: {'; '.join(wrong[:5])}")
    return manifest


def _check_empty(session: Session, blobs: BlobStore | None) -> None:
    for table in Base.metadata.sorted_tables:
        if session.execute(select(func.count()).select_from(table)).scalar():
            raise RestoreRefusedError(
                f"the database is not empty: table {table.name!r} has rows; a restore needs a new database"
            )
    if blobs is not None and next(iter(blobs.entries()), None) is not None:
        raise RestoreRefusedError("the blob store is not empty; a restore needs a new one, so that nothing is mixed up")


def _write_rows(session: Session, table: Table, file: Path) -> TableRows:
    digest, count = hashlib.sha256(), 0
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_ROWS_AT_ONCE)
    with file.open("wb") as lines:
        for row in session.execute(query):
            line = json.dumps(row._asdict(), default=_as_text, ensure_ascii=True).encode() + b"\n"
            lines.write(line)
            digest.update(line)
            count += 1
        lines.flush()
        os.fsync(lines.fileno())
    return TableRows(count, digest.hexdigest())


def _read_rows(table: Table, file: Path) -> Iterator[list[dict[str, Any]]]:
    moments = [column.name for column in table.columns if isinstance(column.type, UtcDateTime | DateTime)]
    rows: list[dict[str, Any]] = []
    with file.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            for name in moments:
                row[name] = None if row[name] is None else datetime.fromisoformat(row[name])
            rows.append(row)
            if len(rows) == _ROWS_AT_ONCE:
                yield rows
                rows = []
    if rows:
        yield rows


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be backed up")


def _continue_counting(session: Session, table: Table) -> None:
    """PostgreSQL's counters know nothing of rows that came with their numbers."""
    column = table.autoincrement_column
    if column is not None:
        most = session.execute(select(func.max(column))).scalar()
        sequence = session.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
        ).scalar()
        if most is not None and sequence is not None:
            session.execute(text("SELECT setval(:sequence, :most)"), {"sequence": sequence, "most": most})


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
