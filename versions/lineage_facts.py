"""Which facts a version says: those of its lineage that no revert took out and no later fact corrected.

Nothing is stored for this. It follows from the lineage, so that a fact that was corrected is in force again in a
version that takes the correction out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.facts import question_key
from versions import lineage
from versions.tables import BatchRow, FactRow, VersionRow

FactState = Literal["in_force", "superseded", "reverted"]
_IN_ONE_QUERY = 500


@dataclass(frozen=True)
class Place:
    """Fact `index` of the batch `edit`, which made `version`."""

    edit: str
    version: int
    index: int


@dataclass(frozen=True)
class LineageFact:
    """A fact of a version's lineage and what became of it there.

    `reverted_by` is the version that took it out; `superseded_by` and `supersedes` are the next and the last fact of
    the lineage, of those not taken out, with the same prompt and subject in another batch.
    """

    place: Place
    fact: dict[str, Any]
    reverted_by: int | None
    supersedes: Place | None
    superseded_by: Place | None

    @property
    def state(self) -> FactState:
        if self.reverted_by is not None:
            return "reverted"
        return "in_force" if self.superseded_by is None else "superseded"


def lineage_facts(session: Session, model: str, number: int) -> list[LineageFact]:
    """All facts of the edits from the base to version `number`, in their order."""
    ancestry = lineage.ancestry(session, model, number)
    batches = _batches(session, ancestry)
    reverted = {
        (entry["edit"], index): version.number
        for version in ancestry
        for entry in _of(batches, version).reverts or ()
        for index in entry["facts"]
    }
    edits = [version for version in ancestry if _of(batches, version).kind == "edit"]
    facts = _facts(session, [version.batch_id for version in edits if version.batch_id is not None])
    found = [
        (Place(version.batch_id, version.number, index), fact)
        for version in edits
        if version.batch_id is not None
        for index, fact in facts[version.batch_id]
    ]
    return _told(found, reverted)


def superseded(session: Session, batch: BatchRow, facts: Sequence[Mapping[str, Any]]) -> list[Place | None]:
    """For each of `facts` of `batch` the fact that it corrects: the one of its parent's lineage that was in force.

    None for all of a batch that has no parent yet, and of a revert, which says nothing of its own.
    """
    if batch.base_version is None or batch.kind == "revert":
        return [None] * len(facts)
    known = {
        question_key(one.fact["prompt"], one.fact["subject"]): one.place
        for one in lineage_facts(session, batch.model, batch.base_version)
        if one.state == "in_force"
    }
    return [known.get(question_key(fact["prompt"], fact["subject"])) for fact in facts]


def without(facts: Sequence[LineageFact], leaving: Set[tuple[str, int]], by: int) -> list[LineageFact]:
    """`facts` of a lineage as they will be when version `by` takes `leaving`, (edit, index), out."""
    reverted = {
        (one.place.edit, one.place.index): by if one.reverted_by is None else one.reverted_by
        for one in facts
        if one.reverted_by is not None or (one.place.edit, one.place.index) in leaving
    }
    return _told([(one.place, one.fact) for one in facts], reverted)


def _told(found: Sequence[tuple[Place, dict[str, Any]]], reverted: Mapping[tuple[str, int], int]) -> list[LineageFact]:
    before, after = _neighbors([one for one in found if (one[0].edit, one[0].index) not in reverted])
    return [
        LineageFact(place, fact, reverted.get((place.edit, place.index)), before.get(place), after.get(place))
        for place, fact in found
    ]


def _neighbors(standing: Sequence[tuple[Place, dict[str, Any]]]) -> tuple[dict[Place, Place], dict[Place, Place]]:
    """For each fact the one before, and the one after it, that answers the same question in another batch."""
    answers: dict[tuple[str, str], list[list[Place]]] = {}
    for place, fact in standing:
        batches = answers.setdefault(question_key(fact["prompt"], fact["subject"]), [])
        if batches and batches[-1][0].edit == place.edit:
            batches[-1].append(place)
        else:
            batches.append([place])
    before: dict[Place, Place] = {}
    after: dict[Place, Place] = {}
    for batches in answers.values():
        for earlier, later in itertools.pairwise(batches):
            after |= dict.fromkeys(earlier, later[0])
            before |= dict.fromkeys(later, earlier[-1])
    return before, after


def _of(batches: dict[str, BatchRow], version: VersionRow) -> BatchRow:
    assert version.batch_id is not None, "every version but the base was made by a batch"
    return batches[version.batch_id]


def _batches(session: Session, ancestry: Sequence[VersionRow]) -> dict[str, BatchRow]:
    ids = [version.batch_id for version in ancestry if version.batch_id is not None]
    found: dict[str, BatchRow] = {}
    for first in range(0, len(ids), _IN_ONE_QUERY):
        query = select(BatchRow).where(BatchRow.id.in_(ids[first : first + _IN_ONE_QUERY]))
        found |= {row.id: row for row in session.scalars(query)}
    return found


def _facts(session: Session, ids: Sequence[str]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {edit: [] for edit in ids}
    for first in range(0, len(ids), _IN_ONE_QUERY):
        query = select(FactRow.batch_id, FactRow.number, FactRow.fact)
        query = query.where(FactRow.batch_id.in_(ids[first : first + _IN_ONE_QUERY])).order_by(FactRow.number)
        for batch_id, number, fact in session.execute(query):
            found[batch_id].append((number, fact))
    return found
