"""What nothing needs can go; what something needs stays and says who needs it; texts go while versions stay."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from api_schemas.references import parse_reference
from store.access import audit
from store.access.audit import Actor
from store.blobs.folder import FolderBlobStore
from store.clock import now
from store.errors import FactsRemovedError, VersionNeededError, VersionNotFoundError
from store.lineage import aliases
from store.lineage import versions as lineage
from store.lineage.facts_in_force import lineage_facts
from store.lineage.questions import is_removed, question_of
from store.schema.base import Base
from store.schema.database import Database
from store.schema.tables import BatchRow, EvaluationRow, FactRow, VersionRow
from store.upkeep import deletion
from store.upkeep.garbage_collection import collect
from store.upkeep.integrity import violations
from store.upkeep.retention import RetentionPolicy, apply
from store.work import batches, evaluations, events, exports, lifecycle, lines
from store.work.kinds import EDIT
from store.work.reversal import facts_to_revert
from tests.store.conftest import Accept

ADA = Actor("cli:ada")
DAY = timedelta(days=1)


def fact(number: int) -> dict[str, object]:
    return {"prompt": "The capital of {} is", "subject": f"Country {number}", "target_new": "Lyon"}


def publish(database: Database, blobs: FolderBlobStore, reference: str, age: timedelta, *subjects: int) -> BatchRow:
    with database.writing() as session:
        new = batches.NewBatch(
            parse_reference(reference), "emmet", {}, {}, [fact(number) for number in subjects or (0,)]
        )
        batch, _ = batches.accept(session, new, most_queued=9)
        lines.advance(session)
        delta, matrices = blobs.put(f"delta {batch.id}".encode()), blobs.put(f"matrices {batch.id}".encode())
        row = lineage.publish(
            session, batch, lineage.NewVersion([1], 1, delta, {"1": matrices}, 1, 1, {"1": "f" * 64}, {}, {})
        )
        batch.version, row.created_at = row.number, now() - age
        batches.set_state(session, batch, "succeeded")
        batch.finished_at = now() - age
        return batch


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "blobs")


@pytest.fixture
def edits(database: Database, blobs: FolderBlobStore) -> list[BatchRow]:
    """v1 and v2 on the line, v3 and v4 a branch of v1; all but v2 a hundred days old."""
    return [
        publish(database, blobs, "tiny", 100 * DAY, 0, 1),
        publish(database, blobs, "tiny", DAY, 2),
        publish(database, blobs, "tiny@v1", 100 * DAY, 3),
        publish(database, blobs, "tiny@v3", 100 * DAY, 4),
    ]


def numbers(database: Database) -> list[int]:
    with database.reading() as session:
        return [row.number for row in lineage.page(session, "tiny", None, 99)]


def test_what_nothing_needs_goes_with_its_blobs_and_its_number_is_not_given_again(
    database: Database, blobs: FolderBlobStore, edits: list[BatchRow]
) -> None:
    with database.writing() as session:
        deletion.delete(session, ADA, "tiny", 4)
        deletion.delete(session, ADA, "tiny", 3)

    assert numbers(database) == [2, 1, 0]
    with database.reading() as session:
        with pytest.raises(VersionNotFoundError, match="version v4 of 'tiny' was deleted at 20"):
            lineage.resolve(session, parse_reference("tiny@v4"))
        assert [(row.action, row.target) for row in audit.page(session, None, 2)[:2]] == [
            ("version.deleted", "v3"),
            ("version.deleted", "v4"),
        ]
    assert len(collect(database, blobs, -DAY, ADA, delete=True).blobs) == 4
    assert violations(database, blobs) == []
    assert publish(database, blobs, "tiny@v2", DAY).version == 5


def test_what_something_needs_stays_and_says_who_needs_it(
    database: Database, edits: list[BatchRow], accept: Accept
) -> None:
    with database.writing() as session:
        aliases.put(session, "tiny", "production", 4, None)
        accept(session, "tiny@v4")
        measured = evaluations.create(session, model="tiny", version=2, compare_with=4, metrics=[], facts=[])
        made = exports.create(session, model="tiny", version=4, format="peft", max_rank=8)
        waiting = lifecycle.page(session, EDIT, "tiny", None, 1)[0]
    for number, named in (
        (0, "every version, as their base"),
        (1, "version v2, version v3"),
        (2, f"alias 'latest', evaluation {measured.id}"),
        (4, f"alias 'production', edit {waiting.id}, evaluation {measured.id}, export {made.id}"),
    ):
        with database.writing() as session, pytest.raises(VersionNeededError) as refused:
            deletion.delete(session, ADA, "tiny", number)
        assert f"is needed by {named}; move or delete those first" in str(refused.value)
    assert numbers(database) == [4, 3, 2, 1, 0]


def test_a_policy_takes_old_versions_from_the_end_of_their_branches(
    database: Database, blobs: FolderBlobStore, edits: list[BatchRow]
) -> None:
    policy = RetentionPolicy(versions=30 * DAY, keep_versions=1)
    with database.writing() as session:
        aliases.put(session, "tiny", "kept", 3, None)
    assert apply(database, policy, ADA, execute=True).versions == [], "the newest stays, and what others need"
    publish(database, blobs, "tiny", DAY)
    with database.writing() as session:
        aliases.delete(session, "tiny", "kept")

    would = apply(database, policy, ADA, execute=False)
    assert (would.versions, numbers(database)) == ([("tiny", 4), ("tiny", 3)], [5, 4, 3, 2, 1, 0])
    assert apply(database, policy, ADA, execute=True) == would
    assert numbers(database) == [5, 2, 1, 0], "v1 is old, and v2 stands on it"
    assert violations(database, blobs) == []


def test_texts_go_and_versions_stay(database: Database, blobs: FolderBlobStore, edits: list[BatchRow]) -> None:
    applied = apply(database, RetentionPolicy(facts=30 * DAY), ADA, execute=True)

    assert applied.edits == [edits[0].id, edits[2].id, edits[3].id]
    assert numbers(database) == [4, 3, 2, 1, 0]
    with database.reading() as session:
        assert "Country" not in str(batches.facts(session, edits[0].id))
        assert batches.facts(session, edits[1].id) == [fact(2)]
        asked = session.scalars(select(FactRow.question).where(FactRow.batch_id == edits[0].id)).all()
        assert not {question_of(fact(number)) for number in range(20)} & set(asked), "texts could be guessed from it"
        found = lineage_facts(session, "tiny", 2)
        assert [(is_removed(one.fact), one.state) for one in found] == [
            (True, "in_force"),
            (True, "in_force"),
            (False, "in_force"),
        ]
        with pytest.raises(FactsRemovedError, match=f"the texts of edit {edits[0].id} were removed"):
            facts_to_revert(session, "tiny", 2, of=1, indices=[0], edits=[])
        assert len(facts_to_revert(session, "tiny", 2, of=2, indices=[0], edits=[])) == 1
    assert violations(database, blobs) == []
    assert apply(database, RetentionPolicy(facts=30 * DAY), ADA, execute=True).edits == [], "once is enough"


def test_no_row_of_any_table_has_a_text_that_was_removed(database: Database) -> None:
    with database.writing() as session:
        odd = {"index": 1, "loc": "facts[1].subject", "msg": "'Country 18' is not in the prompt"}
        new = batches.NewBatch(
            parse_reference("tiny"), "emmet", {}, {}, [fact(17)], left_out=[odd], label="about a country"
        )
        batch, _ = batches.accept(session, new, most_queued=9)
        lifecycle.end(
            session,
            batch,
            "failed",
            {
                "code": "subject_not_found",
                "title": "-",
                "detail": "fact 0: subject 'Country 17' is not there",
                "facts": [0],
            },
        )
        batch.finished_at = now() - 40 * DAY
    assert apply(database, RetentionPolicy(facts=30 * DAY), ADA, execute=True).edits == [batch.id]

    with database.reading() as session:
        rows = [str(row) for table in Base.metadata.tables.values() for row in session.execute(select(table))]
        assert not [row for row in rows if "Country" in row or "Lyon" in row]
        assert [event.kind for event in events.after(session, batch.id, 0)] == ["queued", "failed"]
        assert batches.get(session, batch.id).label == "about a country", "labels are names, and stay"


def test_texts_that_a_revert_under_way_needs_stay(database: Database, edits: list[BatchRow]) -> None:
    with database.writing() as session:
        new = batches.NewBatch(
            parse_reference("tiny"), "revert", {}, {}, [fact(0)], reverts=[{"edit": edits[0].id, "facts": [0]}]
        )
        batches.accept(session, new, most_queued=9)
    assert edits[0].id not in apply(database, RetentionPolicy(facts=30 * DAY), ADA, execute=True).edits


def test_old_evaluations_go(database: Database, edits: list[BatchRow]) -> None:
    with database.writing() as session:
        old, young, running = (
            evaluations.create(session, model="tiny", version=1, compare_with=None, metrics=[], facts=[fact(0)])
            for _ in range(3)
        )
        for row, age in ((old, 40 * DAY), (young, DAY)):
            evaluations.finish(row, metrics={})
            row.finished_at = now() - age
    assert apply(database, RetentionPolicy(evaluations=30 * DAY), ADA, execute=True).evaluations == [old.id]
    with database.reading() as session:
        assert session.get(EvaluationRow, old.id) is None
        assert session.get(EvaluationRow, young.id) is not None
        assert session.get(EvaluationRow, running.id) is not None
        assert session.get(VersionRow, ("tiny", 1)) is not None
