"""A sample of what a lineage says is drawn without reading the lineage, and what was read of facts is found again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, update
from sqlalchemy.orm import Session

from store.lineage import fact_readings, series
from store.lineage.fact_readings import FactReadings
from store.lineage.facts_in_force import LineageFact, Place, lineage_facts
from store.lineage.force_count import facts_in_force_after
from store.lineage.questions import REMOVED, question_of
from store.lineage.retained_sample import sample_in_force
from store.schema.database import Database
from store.schema.tables import BatchRow, FactRow, VersionRow
from tests.store.lineage.test_facts_in_force import edit, fact, revert

BATCH = 20


def standing(session: Session, number: int) -> list[LineageFact]:
    return [one for one in lineage_facts(session, "tiny", number) if one.state == "in_force"]


def line(session: Session, versions: int, first: int = 0) -> list[BatchRow]:
    """Batches of different subjects, but for every fifth fact, which corrects one of the batch before."""
    return [
        edit(
            session,
            *(
                fact(f"Country {BATCH * version + n - (BATCH if n % 5 == 0 and version else 0)}", f"v{version}")
                for n in range(BATCH)
            ),
        )
        for version in range(first, first + versions)
    ]


@contextmanager
def counted(session: Session) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    found: list[str] = []

    def keep(_: object, __: object, statement: str, *___: object) -> None:
        found.append(statement)

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", keep)
    yield found
    event.remove(connection, "before_cursor_execute", keep)


def test_the_sample_is_in_force_of_all_ages_and_the_same_for_a_seed(database: Database) -> None:
    with database.writing() as session:
        line(session, 8)
        said = {one.place: one.fact for one in standing(session, 8)}
        found = sample_in_force(session, "tiny", 8, 32, seed=3)
        assert len(found) == 32
        assert len({one.place for one in found}) == 32
        assert all(said[one.place] == one.fact for one in found)
        by_version = [sum(one.place.version == number for one in found) for number in range(1, 9)]
        assert all(2 <= count <= 7 for count in by_version)
        assert [one.place.version for one in found] == sorted(one.place.version for one in found)
        assert sample_in_force(session, "tiny", 8, 32, seed=3) == found
        assert sample_in_force(session, "tiny", 8, 32, seed=4) != found


def test_a_sample_as_large_as_the_line_is_all_that_it_says(database: Database) -> None:
    with database.writing() as session:
        rows = line(session, 3)
        revert(session, rows[2].id, 1, 2)
        whole = standing(session, 4)
        found = sample_in_force(session, "tiny", 4, 1000, seed=0)
        assert [one.place for one in found] == [one.place for one in whole]
        assert sample_in_force(session, "tiny", 4, 0, seed=0) == []
        assert sample_in_force(session, "tiny", 0, 10, seed=0) == []


def test_what_the_batch_corrects_or_takes_out_and_removed_texts_are_not_in_it(database: Database) -> None:
    with database.writing() as session:
        first, second = line(session, 2)
        asked = question_of(fact("Country 1", "anything"))
        found = sample_in_force(session, "tiny", 2, 1000, seed=0, without={(second.id, 7)}, not_asking={asked})
        left = {one.place for one in standing(session, 2)} - {one.place for one in found}
        assert left == {Place(second.id, 2, 7), Place(first.id, 1, 1)}
        texts = {"prompt": "[removed] {}", "subject": "x", "target_new": REMOVED}
        session.execute(update(FactRow).where(FactRow.batch_id == first.id).values(fact=texts))
        assert {one.place.edit for one in sample_in_force(session, "tiny", 2, 1000, seed=0)} == {second.id}


def test_where_most_facts_were_corrected_those_in_force_are_found(database: Database) -> None:
    with database.writing() as session:
        for version in range(15):
            edit(session, *(fact(f"Country {n}", f"v{version}") for n in range(10)))
        found = sample_in_force(session, "tiny", 15, 64, seed=1)
        assert {one.place for one in found} == {one.place for one in standing(session, 15)}


def test_what_is_asked_of_sql_does_not_grow_with_the_line(database: Database) -> None:
    counts: dict[int, list[int]] = {}
    with database.writing() as session:
        for versions in (10, 50):
            rows = line(session, versions - (0 if versions == 10 else 10), first=0 if versions == 10 else 10)
            session.flush()
            places = [Place(rows[-1].id, versions, n) for n in range(BATCH)]
            fact_readings.keep(
                session, "tiny", versions, [FactReadings(one.edit, one.index, {}, {"EM": 1.0}) for one in places]
            )
            with counted(session) as sample:
                sample_in_force(session, "tiny", versions, 64, seed=0)
            with counted(session) as read:
                fact_readings.newest(session, "tiny", versions, places)
            session.execute(update(VersionRow).where(VersionRow.number == versions).values(facts_in_force=7))
            session.expire_all()
            with counted(session) as count:
                facts_in_force_after(session, rows[-1], versions)
            with counted(session) as newest:
                series.newest_metrics(session, "tiny", versions, 8)
            counts[versions] = [len(sample), len(read), len(count), len(newest)]
    assert counts[50][1:] == counts[10][1:]
    assert all(count <= 20 for count in counts[50])
    assert counts[50][0] <= counts[10][0] + 6, "as many rounds as are needed, six at most"


@pytest.mark.parametrize("stored", [True, False], ids=["from the parent", "from an older release"])
def test_facts_in_force_are_counted_from_the_parent(database: Database, stored: bool) -> None:
    with database.writing() as session:
        rows = [
            edit(session, fact("France", "Lyon"), fact("Italy", "Turin")),
            edit(session, fact("France", "Nice"), fact("Spain", "Vigo")),
        ]
        rows.append(revert(session, rows[1].id, 0))
        rows.append(revert(session, rows[1].id, 1))
        rows.append(edit(session, fact("France", "Lille")))
        for number, row in enumerate(rows, 1):
            count = facts_in_force_after(session, row, number - 1)
            assert count == len(standing(session, number)), number
            if stored:
                version = session.get(VersionRow, ("tiny", number))
                assert version is not None
                version.facts_in_force = count


def test_the_last_reading_in_the_lineage_is_found(database: Database) -> None:
    with database.writing() as session:
        first, second = line(session, 2)
        third = edit(session, fact("Spain", "Vigo"), on="tiny@v1")
        for version, value in ((1, 1.0), (2, 0.0), (3, 0.5)):
            fact_readings.keep(session, "tiny", version, [FactReadings(first.id, 0, {"EM": 1.0}, {"EM": value})])
        place, other = Place(first.id, 1, 0), Place(first.id, 1, 1)
        assert fact_readings.newest(session, "tiny", 2, [place, other]) == {place: (2, {"EM": 0.0})}
        assert fact_readings.newest(session, "tiny", 3, [place]) == {place: (3, {"EM": 0.5})}
        assert fact_readings.newest(session, "tiny", 1, [place]) == {place: (1, {"EM": 1.0})}
        assert fact_readings.at_version(session, "tiny", 1, [place, other]) == {place: {"EM": 1.0}}
        assert [row.number for row in series.page(session, "tiny", 3, 0, 10)] == [1, 3]
        assert [row.number for row in series.page(session, "tiny", 2, 1, 10)] == [2]
        assert second.id != third.id
