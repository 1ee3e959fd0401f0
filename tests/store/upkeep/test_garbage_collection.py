"""Only what nothing names is collected, and only once nobody can be about to name it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from store.access import audit
from store.access.audit import Actor
from store.blobs.folder import FolderBlobStore
from store.clock import now
from store.lineage import models
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import ExportRow, TaskRow
from store.upkeep.garbage_collection import GarbageCollection, collect, discard_exports
from store.work import batches, exports, lifecycle, lines, tasks
from tests.store.conftest import Accept

DAY = timedelta(days=1)
ADA = Actor("cli:ada")


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "blobs")


def old(blobs: FolderBlobStore, content: bytes, days: float = 3) -> str:
    """A blob that was put some days ago."""
    sha256 = blobs.put(content)
    then = (now() - timedelta(days=days)).timestamp()
    os.utime(blobs.path(sha256), (then, then))
    return sha256


def found(collection: GarbageCollection) -> set[str]:
    return {blob.sha256 for blob in collection.blobs}


def test_versions_tokenizers_and_running_batches_keep_their_blobs(
    database: Database, blobs: FolderBlobStore, accept: Accept
) -> None:
    delta, matrices, tokenizer, values, spent = (old(blobs, name) for name in (b"d", b"m", b"t", b"v", b"s"))
    lost = old(blobs, b"nobody's")
    with database.writing() as session:
        models.get(session, "tiny").tokenizer_blob = tokenizer
        first = accept(session)
        lines.advance(session)
        new = lineage.NewVersion([1], 1, delta, {"1": matrices}, 1, 1, {"1": "f" * 64}, {}, {})
        lineage.publish(session, first, new)
        shard = tasks.create(session, of=first, kind="values")
        shard.result = {"blob": spent}
        batches.set_state(session, first, "succeeded")
        running = accept(session)
        shard = tasks.create(session, of=running, kind="values")
        shard.result = {"blob": values, "steps": 3}
        tasks.create(session, of=running, kind="plan")

    would = collect(database, blobs, DAY, ADA, delete=False)
    assert found(would) == {spent, lost}
    assert (would.kept, would.bytes) == (4, len(b"s") + len(b"nobody's"))
    assert blobs.exists(lost)

    assert found(collect(database, blobs, DAY, ADA, delete=True)) == {spent, lost}
    assert [blobs.exists(one) for one in (delta, matrices, tokenizer, values, spent, lost)] == [True] * 4 + [False] * 2
    assert found(collect(database, blobs, DAY, ADA, delete=True)) == set()


def test_what_was_just_put_stays(database: Database, blobs: FolderBlobStore) -> None:
    young = blobs.put(b"young")
    again = old(blobs, b"again")
    blobs.put(b"again")
    assert found(collect(database, blobs, DAY, ADA, delete=True)) == set()
    assert blobs.exists(young)
    assert blobs.exists(again)
    assert found(collect(database, blobs, timedelta(0), ADA, delete=True)) == {young, again}


def test_exports_go_once_they_are_old(database: Database, blobs: FolderBlobStore) -> None:
    with database.writing() as session:
        rows = [
            exports.create(session, model="tiny", version=0, format=kind, max_rank=8) for kind in ("peft", "merged")
        ]
        for row, days in zip(rows, (3.0, 0.5), strict=True):
            exports.finish(row, blob=old(blobs, row.id.encode()), size=1, report={})
            row.finished_at = now() - timedelta(days=days)
        exports.create(session, model="tiny", version=0, format="peft", max_rank=9)
    blob = rows[0].blob
    assert blob is not None

    would = collect(database, blobs, DAY, ADA, delete=False)
    assert (found(would), would.exports) == ({blob}, 1)
    done = collect(database, blobs, DAY, ADA, delete=True)
    assert (found(done), done.exports) == ({blob}, 1)
    with database.reading() as session:
        assert {row.format for row in session.query(ExportRow)} == {"peft", "merged"}
        assert session.query(TaskRow).count() == 2
        assert exports.find(session, "tiny", 0, "peft", 8) is None


def test_the_file_of_an_export_that_went_stays_where_it_was_put_again(
    database: Database, blobs: FolderBlobStore
) -> None:
    once, again, named = (old(blobs, content) for content in (b"once", b"again", b"named"))
    then = now() - timedelta(days=2)
    blobs.put(b"again")
    with database.writing() as session:
        row = exports.create(session, model="tiny", version=0, format="merged", max_rank=0)
        exports.finish(row, blob=named, size=1, report={})
    assert discard_exports(database, blobs, dict.fromkeys((once, again, named), then)) == 1
    assert [blobs.exists(one) for one in (once, again, named)] == [False, True, True]


def test_what_went_is_told_in_the_audit_log_and_nothing_else(database: Database, blobs: FolderBlobStore) -> None:
    old(blobs, b"nobody's")
    collect(database, blobs, DAY, ADA, delete=False)
    collect(database, blobs, DAY, ADA, delete=True)
    collect(database, blobs, DAY, ADA, delete=True)
    with database.reading() as session:
        (row,) = audit.page(session, None, 10, action="blobs.collected")
    assert row.actor == ADA.id
    assert {**row.details, "before": None} == {"blobs": 1, "bytes": len(b"nobody's"), "exports": 0, "before": None}


def test_leftovers_of_interrupted_writes_go(database: Database, blobs: FolderBlobStore) -> None:
    kept = blobs.put(b"kept")
    leftover = blobs.path(kept).with_name(".partial-x")
    leftover.write_bytes(b"half")
    collect(database, blobs, DAY, ADA, delete=True)
    assert leftover.exists()
    then = (now() - 2 * DAY).timestamp()
    os.utime(leftover, (then, then))
    collect(database, blobs, DAY, ADA, delete=False)
    assert leftover.exists()
    collect(database, blobs, DAY, ADA, delete=True)
    assert not leftover.exists()


def test_a_blob_put_while_it_is_discarded_stays(blobs: FolderBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    name = old(blobs, b"wanted again")
    before = now() - DAY
    rename = os.replace

    def put_first(source: Path, target: Path) -> None:
        if Path(target).name.startswith(".discarded-"):
            blobs.put(b"wanted again")
        rename(source, target)

    monkeypatch.setattr(os, "replace", put_first)
    assert not blobs.discard(name, before)
    assert blobs.get(name) == b"wanted again"


def test_an_export_is_found_unless_it_may_go_better_next_time(database: Database) -> None:
    with database.writing() as session:
        row = exports.create(session, model="tiny", version=0, format="peft", max_rank=8)
        assert exports.find(session, "tiny", 0, "peft", 8) is row
        assert exports.find(session, "tiny", 0, "peft", 9) is None
        lifecycle.end_with_error(session, row, {"code": "rank_limit"})
        assert exports.find(session, "tiny", 0, "peft", 8) is row
        row.error = {"code": "machine"}
        session.flush()
        assert exports.find(session, "tiny", 0, "peft", 8) is row
        row.finished_at = now() - 2 * exports.RETRY_AFTER
        session.flush()
        assert exports.find(session, "tiny", 0, "peft", 8) is None
