"""The checker finds each kind of damage: without that its silence would say nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from store.blobs.folder import FolderBlobStore
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import AliasRow, BatchRow, FactRow, ModelRow, VersionRow
from store.upkeep.integrity import Verified, violations
from store.work import batches, evaluations, lifecycle, lines, tasks
from store.work.kinds import EVALUATION
from tests.store.conftest import Accept


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "blobs")


@pytest.fixture(autouse=True)
def _three_versions(database: Database, blobs: FolderBlobStore, accept: Accept) -> None:
    with database.writing() as session:
        for name in (b"one", b"two", b"three"):
            batch = accept(session)
            lines.advance(session)
            delta, matrices = blobs.put(b"delta " + name), blobs.put(b"matrices " + name)
            row = lineage.publish(
                session, batch, lineage.NewVersion([1], 1, delta, {"1": matrices}, 1, 1, {"1": "f" * 64}, {}, {})
            )
            batch.version = row.number
            batches.set_state(session, batch, "succeeded")
            tasks.withdraw(session, batch)


def test_a_sound_store(database: Database, blobs: FolderBlobStore, accept: Accept) -> None:
    assert violations(database, blobs, settled=True) == []
    with database.writing() as session:
        waiting = accept(session)
    assert violations(database, blobs) == []
    assert violations(database, blobs, settled=True) == [f"batch {waiting.id} is still queued"]
    with database.writing() as session:
        lines.advance(session)
    assert [one.partition(" ")[0] for one in violations(database, blobs, settled=True)] == ["batch", "task"]


Breaks = Callable[[Session], object]
LAST = select(BatchRow.id).where(BatchRow.version == 3).scalar_subquery()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (
            lambda s: s.execute(update(VersionRow).where(VersionRow.number == 3).values(parent=1)),
            "v3 of tiny has the",
        ),
        (lambda s: s.execute(update(VersionRow).where(VersionRow.number == 2).values(parent=9)), "no earlier version"),
        (lambda s: s.execute(delete(VersionRow).where(VersionRow.number == 2)), "has versions v0 to v1, v3, and its n"),
        (lambda s: s.execute(update(VersionRow).where(VersionRow.number == 1).values(blob=None)), "lacks its delta"),
        (lambda s: s.execute(update(ModelRow).values(next_version=7)), "its next is v7"),
        (lambda s: s.execute(update(AliasRow).values(version=8)), "points at v8, which is not there"),
        (lambda s: s.execute(update(BatchRow).where(BatchRow.version == 3).values(state="failed")), "made 1 versions"),
        (lambda s: s.execute(update(BatchRow).where(BatchRow.version == 3).values(version=None)), "names None"),
        (
            lambda s: s.execute(update(BatchRow).where(BatchRow.version == 3).values(seq=9)),
            "number 9, after number 2",
        ),
        (lambda s: s.execute(update(BatchRow).where(BatchRow.version == 1).values(finished_at=None)), "ended at None"),
        (lambda s: s.execute(delete(FactRow).where(FactRow.batch_id == LAST)), "has 1 facts, of which 0 are kept"),
    ],
)
def test_damage_in_sql(database: Database, blobs: FolderBlobStore, breaks: Breaks, said: str) -> None:
    with database.writing() as session:
        breaks(session)
    found = violations(database, blobs)
    assert any(said in one for one in found), found


def test_two_batches_of_a_line_that_run_at_once(database: Database, blobs: FolderBlobStore, accept: Accept) -> None:
    with database.writing() as session:
        for _ in range(2):
            accept(session).state = "planning"
    assert violations(database, blobs) == ["2 batches of the line tiny@latest run at once"]


def test_evaluations(database: Database, blobs: FolderBlobStore) -> None:
    with database.writing() as session:
        row = evaluations.create(session, model="tiny", version=3, compare_with=None, metrics=["ES"], facts=[])
        tasks.withdraw(session, row)
    assert violations(database, blobs) == []
    assert violations(database, blobs, settled=True) == [f"evaluation {row.id} is still queued"]
    with database.writing() as session:
        evaluations.finish(lifecycle.get(session, EVALUATION, row.id), metrics=None)
    assert violations(database, blobs) == [f"evaluation {row.id} is succeeded without measurements or a reason"]
    with database.writing() as session:
        evaluations.finish(lifecycle.get(session, EVALUATION, row.id), metrics={"tiny@v3": {}})
    assert violations(database, blobs, settled=True) == []
    with database.writing() as session:
        lifecycle.get(session, EVALUATION, row.id).n_facts = 2
    assert violations(database, blobs) == [f"evaluation {row.id} has 2 facts, of which 0 are kept"]


def test_blobs_that_are_gone_or_damaged(database: Database, blobs: FolderBlobStore) -> None:
    with database.reading() as session:
        first, second = (lineage.get(session, "tiny", number) for number in (1, 2))
    verified = Verified()
    assert violations(database, blobs, verified=verified) == []
    assert len(verified.blobs) == 6
    assert first.blob is not None
    assert second.matrix_blobs is not None
    blobs.path(first.blob).unlink()
    blobs.path(second.matrix_blobs["1"]).write_bytes(b"other")
    found = sorted(violations(database, blobs))
    assert len(found) == 2
    assert found[0].startswith(f"version v1 of tiny: blob {first.blob} is not in")
    assert found[1].startswith(f"version v2 of tiny: blob {second.matrix_blobs['1']}")
    assert "does not match its hash" in found[1]
    assert violations(database, blobs, verified=verified) == []
