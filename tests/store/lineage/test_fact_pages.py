"""Parts of a lineage read by themselves say what the whole of it says."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from store.lineage.fact_pages import facts_at, in_force, page, read_lineage, superseded
from store.lineage.facts_in_force import LineageFact, lineage_facts
from store.lineage.questions import question_of
from store.schema.database import Database
from store.schema.tables import BatchRow
from store.work import batches
from tests.store.lineage.test_facts_in_force import edit, fact, revert

VERSIONS = 12


@pytest.fixture
def lineage(database: Database) -> None:
    """Edits of one to nine facts, many of which ask what an earlier one asked, reverts of some, and two branches."""
    chance = random.Random(5)
    with database.writing() as session:
        made: list[BatchRow] = []
        for number in range(1, VERSIONS + 1):
            on = f"tiny@v{number - 4}" if number in (6, 9) else "tiny"
            taken = [one for one in lineage_facts(session, "tiny", number - 1) if one.reverted_by is None]
            if number in (5, 8, 11):
                leaving = [one.place.index for one in taken if one.place.edit == made[-1].id][:3]
                made.append(revert(session, made[-1].id, *leaving))
            else:
                subjects = [chance.randrange(12) for _ in range(chance.randrange(1, 10))]
                made.append(edit(session, *(fact(f"Country {n}", f"v{number}") for n in subjects), on=on))


def pages(session: Session, number: int, limit: int, *, standing: bool) -> list[LineageFact]:
    found, first = [], 0
    while True:
        some, after = page(session, "tiny", number, first, limit, in_force=standing)
        assert len(some) <= limit
        found += some
        if after is None:
            return found
        assert len(some) == limit, "only the last page is short"
        first = after


@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_pages_one_after_the_other_are_the_whole(database: Database, lineage: None, limit: int) -> None:
    with database.reading() as session:
        for number in range(VERSIONS + 1):
            whole = lineage_facts(session, "tiny", number)
            assert pages(session, number, limit, standing=False) == whole
            assert pages(session, number, limit, standing=True) == [one for one in whole if one.state == "in_force"]


def test_what_is_in_force_is_known_without_the_texts(database: Database, lineage: None) -> None:
    with database.reading() as session:
        for number in range(VERSIONS + 1):
            standing = [one for one in lineage_facts(session, "tiny", number) if one.state == "in_force"]
            line = read_lineage(session, "tiny", number)
            assert in_force(session, line) == [one.place for one in standing]
            assert facts_at(session, line, [one.place for one in standing[::-2]]) == standing[::-2]


def test_a_fact_corrects_the_one_that_was_in_force(database: Database, lineage: None) -> None:
    with database.reading() as session:
        for batch in session.scalars(select(BatchRow).where(BatchRow.kind == "edit")):
            assert batch.base_version is not None
            facts = batches.facts(session, batch.id)
            known = {
                question_of(one.fact): one.place
                for one in lineage_facts(session, "tiny", batch.base_version)
                if one.state == "in_force"
            }
            assert superseded(session, batch, facts) == [known.get(question_of(one)) for one in facts]


def test_what_stands_behind_many_corrected_facts_is_found(database: Database) -> None:
    with database.writing() as session:
        for version in range(4):
            edit(session, *(fact(f"Country {n}", f"v{version}") for n in range(50)))
    with database.reading() as session:
        some, after = page(session, "tiny", 4, 0, 2, in_force=True)
        assert [(one.fact["subject"], one.place.version) for one in some] == [("Country 0", 4), ("Country 1", 4)]
        assert after == 152
        assert page(session, "tiny", 4, 10**18, 2, in_force=True) == ([], None)
