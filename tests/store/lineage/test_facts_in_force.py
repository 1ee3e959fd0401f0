"""Which facts a version says follows from its lineage: corrected ones stand behind, reverted ones are gone."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from api_schemas.references import parse_reference
from store.errors import BatchNotFoundError, NotInLineageError
from store.lineage import versions as lineage
from store.lineage.fact_pages import superseded
from store.lineage.facts_in_force import lineage_facts
from store.schema.database import Database
from store.schema.tables import BatchRow
from store.work import batches, lines
from store.work.reversal import as_reverts, facts_to_revert
from tests.store.conftest import publish


def fact(subject: str, answer: str) -> dict[str, str]:
    return {"prompt": "The capital of {} is", "subject": subject, "target_new": answer}


def edit(session: Session, *facts: dict[str, str], on: str = "tiny") -> BatchRow:
    new = batches.NewBatch(parse_reference(on), "emmet", {}, {}, facts)
    return run(session, new)


def revert(session: Session, edit: str, *indices: int, on: str = "tiny") -> BatchRow:
    facts = [batches.facts(session, edit)[index] for index in indices]
    reverts = [{"edit": edit, "facts": list(indices)}]
    return run(session, batches.NewBatch(parse_reference(on), "revert", {}, {}, facts, reverts=reverts))


def run(session: Session, new: batches.NewBatch) -> BatchRow:
    row = batches.accept(session, new, most_queued=100)[0]
    lines.advance(session)
    publish(session, row)
    return row


def said(session: Session, number: int) -> dict[str, str]:
    return {
        one.fact["subject"]: one.fact["target_new"]
        for one in lineage_facts(session, "tiny", number)
        if one.state == "in_force"
    }


def test_a_correction_supersedes_and_taking_it_out_brings_the_earlier_answer_back(database: Database) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"), fact("Italy", "Turin"))
        second = edit(session, fact("Spain", "Vigo"), fact(" France ", "Nice"))
        assert said(session, 2) == {"Italy": "Turin", "Spain": "Vigo", " France ": "Nice"}
        lyon, _, _, nice = lineage_facts(session, "tiny", 2)
        assert (lyon.state, lyon.superseded_by) == ("superseded", nice.place)
        assert (nice.supersedes, nice.place.edit, nice.place.version, nice.place.index) == (lyon.place, second.id, 2, 1)
        revert(session, second.id, 1)
        assert said(session, 3) == {"France": "Lyon", "Italy": "Turin", "Spain": "Vigo"}
        gone = lineage_facts(session, "tiny", 3)[3]
        assert (gone.state, gone.reverted_by, gone.supersedes) == ("reverted", 3, None)
        assert said(session, 2)[" France "] == "Nice"
        assert first.id == lyon.place.edit


def test_a_correction_of_a_correction_supersedes_the_last_one(database: Database) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"), fact("Italy", "Turin"))
        second = edit(session, fact("France", "Nice"))
        third = edit(session, fact("Italy", "Rome"), fact("France", "Lille"))
        found = superseded(session, third, batches.facts(session, third.id))
        assert [(one.edit, one.index) for one in found if one] == [(first.id, 1), (second.id, 0)]
        assert superseded(session, first, batches.facts(session, first.id)) == [None, None]
        gone = revert(session, second.id, 0)
        assert superseded(session, gone, batches.facts(session, gone.id)) == [None]
        lille = lineage_facts(session, "tiny", 4)[-1]
        assert lille.supersedes is not None
        assert lille.supersedes.edit == first.id
        revert(session, third.id, 1)
        assert said(session, 5) == {"France": "Lyon", "Italy": "Rome"}


def test_a_branch_knows_nothing_of_what_the_line_took_out(database: Database) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"), fact("Italy", "Turin"))
        revert(session, first.id, 0)
        edit(session, fact("Spain", "Vigo"), on="tiny@v1")
        assert said(session, 2) == {"Italy": "Turin"}
        assert said(session, 3) == {"France": "Lyon", "Italy": "Turin", "Spain": "Vigo"}
        assert said(session, 0) == {}


def test_the_same_fact_twice_in_a_batch_supersedes_nothing(database: Database) -> None:
    with database.writing() as session:
        edit(session, fact("France", "Lyon"), fact("France", "Lyon"))
        assert [one.state for one in lineage_facts(session, "tiny", 1)] == ["in_force", "in_force"]
        edit(session, fact("France", "Lyon"))
        assert [one.state for one in lineage_facts(session, "tiny", 2)] == ["superseded", "superseded", "in_force"]


def test_a_version_counts_the_facts_that_are_left(database: Database) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"), fact("Italy", "Turin"))
        row = revert(session, first.id, 1)
        assert row.kind == "revert"
    with database.reading() as session:
        assert [lineage.get(session, "tiny", n).total_facts for n in (0, 1, 2)] == [0, 2, 1]


def test_facts_to_revert_are_looked_up_in_the_lineage(database: Database) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"), fact("Italy", "Turin"), fact("Spain", "Vigo"))
        second = edit(session, fact("Malta", "Gozo"))
        found = facts_to_revert(session, "tiny", 2, of=1, indices=[2, 0, 2], edits=[second.id])
        assert as_reverts(found) == [{"edit": first.id, "facts": [0, 2]}, {"edit": second.id, "facts": [0]}]
        revert(session, first.id, 0)
        found = facts_to_revert(session, "tiny", 3, of=None, indices=[], edits=[first.id])
        assert as_reverts(found) == [{"edit": first.id, "facts": [1, 2]}]


@pytest.mark.parametrize(
    ("number", "of", "indices", "says"),
    [
        (2, 0, [0], "v0 is the base"),
        (2, 1, [2], "the batch of v1 has 2 facts, 0 to 1"),
        (2, 1, [0], "fact 0 of v1 was taken out already, by v2"),
        (2, 2, [0], "v2 is a revert itself"),
        (2, 3, [0], "v3 is not in the lineage of v2"),
    ],
)
def test_what_cannot_be_taken_out_is_named(
    database: Database, number: int, of: int, indices: list[int], says: str
) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"), fact("Italy", "Turin"))
        revert(session, first.id, 0)
        edit(session, fact("Malta", "Gozo"), on="tiny@v1")
        with pytest.raises(NotInLineageError, match=says):
            facts_to_revert(session, "tiny", number, of=of, indices=indices, edits=[])


def test_edits_that_cannot_be_taken_out_are_named(database: Database) -> None:
    with database.writing() as session:
        first = edit(session, fact("France", "Lyon"))
        other = edit(session, fact("Italy", "Turin"), on="tiny@v0")
        revert(session, first.id, 0)
        for edits, says in (([other.id], "not in the lineage of v3"), ([first.id], "taken out already")):
            with pytest.raises(NotInLineageError, match=says):
                facts_to_revert(session, "tiny", 3, of=None, indices=[], edits=edits)
        with pytest.raises(BatchNotFoundError):
            facts_to_revert(session, "tiny", 3, of=None, indices=[], edits=["edit_none"])
