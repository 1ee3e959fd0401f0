"""A backup is one moment of SQL with all its blobs; a restore is the same store again, or nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from store.access import audit
from store.access.audit import Actor
from store.blobs.folder import FolderBlobStore
from store.errors import BackupError, BlobCorruptError, BlobMissingError, RestoreRefusedError
from store.lineage import aliases, models
from store.lineage import versions as lineage
from store.schema.base import Base
from store.schema.database import Database, migrate
from store.upkeep import deletion
from store.upkeep.backup import back_up, read_manifest, restore, verify
from store.upkeep.garbage_collection import collect
from store.upkeep.integrity import violations
from store.work import batches, lines, tasks
from tests.store.conftest import Accept
from tests.support.postgres import Databases

ADA = Actor("cli:ada")


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "blobs")


def publish(database: Database, blobs: FolderBlobStore, accept: Accept, reference: str = "tiny") -> int:
    """A batch from its acceptance to its version, with blobs of its own."""
    with database.writing() as session:
        batch = accept(session, reference)
        lines.advance(session)
        delta, matrices = blobs.put(f"delta of {batch.id}".encode()), blobs.put(f"matrices of {batch.id}".encode())
        new = lineage.NewVersion([1], 1, delta, {"1": matrices}, 1, 1, {"1": "f" * 64}, {"seed": 0}, {"ES": None})
        row = lineage.publish(session, batch, new)
        batch.version = row.number
        batches.set_state(session, batch, "succeeded")
        for task in tasks.of_batch(session, batch.id, "plan"):
            tasks.abandon(session, task)
        return row.number


@pytest.fixture
def filled(database: Database, blobs: FolderBlobStore, accept: Accept) -> Database:
    """Two versions on the line, a branch, a batch under way, and a blob that nothing names."""
    for reference in ("tiny", "tiny", "tiny@v1"):
        publish(database, blobs, accept, reference)
    with database.writing() as session:
        models.get(session, "tiny").tokenizer_blob = blobs.put(b"tokenizer")
        aliases.put(session, "tiny", "production", 1, None)
        running = accept(session)
        lines.advance(session)
        shard = tasks.create(session, of=running, kind="values")
        shard.result = {"blob": blobs.put(b"values under way"), "steps": 3}
        accept(session, idempotency_key="key", body_sha256="a" * 64)
    blobs.put(b"nobody's")
    return database


def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.reading() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database without rows, of either kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/restored.sqlite3"
        migrate(url)
        database = Database(url)
        yield database
        database.close()
        return
    databases: Databases = request.getfixturevalue("postgres_databases")
    with databases.new() as url:
        database = Database(url)
        yield database
        database.close()


def test_a_restore_is_the_same_store_again_on_either_database(
    filled: Database, blobs: FolderBlobStore, empty: Database, tmp_path: Path, accept: Accept
) -> None:
    made = back_up(filled, blobs, tmp_path / "backup")
    there = FolderBlobStore(tmp_path / "other")

    assert restore(tmp_path / "backup", empty, there, ADA) == made == verify(tmp_path / "backup")

    found = everything(empty)
    *log, restored = found["audit"]
    assert {**found, "audit": log} == everything(filled)
    with empty.reading() as session:
        told = audit.page(session, None, 1)[0]
        assert (told.actor, told.action, told.target) == (ADA.id, "store.restored", str(tmp_path / "backup"))
        assert told.details == {
            "made_at": made.made_at,
            "release": made.release,
            "rows": made.rows,
            "blobs": len(made.blobs),
        }
        assert told.id == restored[0]
    assert {one.sha256 for one in there.entries()} == set(made.blobs)
    assert len(made.blobs) == 3 * 2 + 2, "the blobs of versions, the tokenizer and the values under way, and no other"
    assert violations(empty, there) == []
    assert publish(empty, there, lambda session, reference: accept(session, "tiny@v3"), "") == 4, (
        "it goes on from there"
    )


def test_a_backup_beside_writers_holds_together(
    database: Database, blobs: FolderBlobStore, accept: Accept, tmp_path: Path
) -> None:
    ended = threading.Event()

    def keep_publishing() -> None:
        while not ended.is_set():
            publish(database, blobs, accept)

    writer = threading.Thread(target=keep_publishing)
    writer.start()
    try:
        counts = []
        for number in range(4):
            manifest = back_up(database, blobs, tmp_path / f"backup{number}")
            counts.append(manifest.tables["versions"].rows)
    finally:
        ended.set()
        writer.join()
    assert counts == sorted(counts)
    for number in range(4):
        url = f"sqlite:///{tmp_path}/restored{number}.sqlite3"
        migrate(url)
        restored = Database(url)
        restore(tmp_path / f"backup{number}", restored, FolderBlobStore(tmp_path / f"blobs{number}"), ADA)
        restored.close()


class Collecting(FolderBlobStore):
    """A store from which garbage is collected when one blob is about to be read."""

    def __init__(self, folder: Path, before: str, collect_garbage: Callable[[], None]) -> None:
        super().__init__(folder)
        self._before = before
        self._collect_garbage = collect_garbage

    def get(self, sha256: str) -> bytes:
        if sha256 == self._before and self.exists(sha256):
            self._collect_garbage()
        return super().get(sha256)


def test_a_version_that_is_deleted_and_collected_during_a_backup_is_left_out_of_it(
    filled: Database, blobs: FolderBlobStore, empty: Database, tmp_path: Path
) -> None:
    with filled.reading() as session:
        branch = lineage.get(session, "tiny", 3)
    own = sorted({branch.blob or "", (branch.matrix_blobs or {})["1"]})

    def delete_and_collect() -> None:
        with filled.writing() as session:
            deletion.delete(session, ADA, "tiny", 3)
        collect(filled, blobs, timedelta(0), ADA, delete=True)

    # The first of its blobs has been copied when it happens.
    made = back_up(filled, Collecting(blobs.folder, own[1], delete_and_collect), tmp_path / "backup")

    assert not set(own) & set(made.blobs)
    assert {one.sha256 for one in FolderBlobStore(tmp_path / "backup" / "blobs").entries()} == set(made.blobs)
    there = FolderBlobStore(tmp_path / "other")
    assert restore(tmp_path / "backup", empty, there, ADA) == made
    found = everything(empty)
    *log, _ = found["audit"]
    assert {**found, "audit": log} == everything(filled)
    assert violations(empty, there) == []


def test_what_is_not_empty_is_refused(
    filled: Database, blobs: FolderBlobStore, empty: Database, tmp_path: Path
) -> None:
    back_up(filled, blobs, tmp_path / "backup")
    before = everything(filled)

    with pytest.raises(RestoreRefusedError, match="the database is not empty"):
        restore(tmp_path / "backup", filled, FolderBlobStore(tmp_path / "other"), ADA)
    with pytest.raises(RestoreRefusedError, match="the blob store is not empty"):
        restore(tmp_path / "backup", empty, blobs, ADA)

    assert everything(filled) == before
    assert not any(everything(empty).values())
    with pytest.raises(BackupError, match="exists already"):
        back_up(filled, blobs, tmp_path / "backup")


def test_a_damaged_backup_is_refused_before_anything_is_written(
    filled: Database, blobs: FolderBlobStore, empty: Database, tmp_path: Path
) -> None:
    source = tmp_path / "backup"
    made = back_up(filled, blobs, source)
    copies, there = FolderBlobStore(source / "blobs"), FolderBlobStore(tmp_path / "other")

    rows = source / "rows" / "versions.jsonl"
    kept = rows.read_bytes()
    rows.write_bytes(kept.replace(b'"parent": 1', b'"parent": 0'))
    with pytest.raises(BackupError, match="the rows of 'versions' do not match the manifest"):
        restore(source, empty, there, ADA)
    rows.write_bytes(kept)

    blob = copies.path(made.blobs[0])
    content = blob.read_bytes()
    blob.write_bytes(b"x" + content[1:])
    with pytest.raises(BlobCorruptError):
        restore(source, empty, there, ADA)
    blob.unlink()
    with pytest.raises(BlobMissingError):
        restore(source, empty, there, ADA)
    blob.write_bytes(content)

    manifest = json.loads((source / "manifest.json").read_text())
    (source / "manifest.json").write_text(json.dumps({**manifest, "revision": "0000"}))
    with pytest.raises(RestoreRefusedError, match="restore it with that release, then upgrade"):
        restore(source, empty, there, ADA)
    (source / "manifest.json").write_text("{}")
    with pytest.raises(BackupError, match="is no backup"):
        read_manifest(source)

    assert not any(everything(empty).values())
    assert not list(there.entries())


def test_a_backup_that_cannot_be_whole_is_not_there_at_all(
    filled: Database, blobs: FolderBlobStore, tmp_path: Path
) -> None:
    with filled.reading() as session:
        lost = lineage.get(session, "tiny", 2).blob
    assert lost is not None
    blobs.path(lost).unlink()

    with pytest.raises(BlobMissingError):
        back_up(filled, blobs, tmp_path / "backup")

    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []
