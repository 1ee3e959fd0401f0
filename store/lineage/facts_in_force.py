"""Computes which facts a version says: those of its lineage that no revert took out and no later fact corrected.

Nothing but each fact's question is stored for this. It follows from the lineage, so that a fact that was corrected is
in force again in a version that takes the correction out. Here for whole lineages; `store.lineage.fact_pages` has
parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.facts import question_key
from store.lineage import versions as lineage
from store.schema.tables import BatchRow, FactRow, VersionRow

FactState = Literal["in_force", "superseded", "reverted"]
FACT_KINDS: Final = ("edit", "consolidation")
"""Kinds of batches that say facts; others take some out."""
IN_ONE_QUERY: Final = 500

Item = TypeVar("Item")


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
    the lineage, of those not taken out, with the same prompt and subject in another batch. `origin` of a fact of a
    consolidation is the fact that it stands for: {"edit", "index", "version"}.
    """

    place: Place
    fact: dict[str, Any]
    reverted_by: int | None
    supersedes: Place | None
    superseded_by: Place | None
    origin: dict[str, Any] | None = None

    @property
    def state(self) -> FactState:
        if self.reverted_by is not None:
            return "reverted"
        return "in_force" if self.superseded_by is None else "superseded"


@dataclass(frozen=True)
class LineageStep:
    """A version of a lineage and what its batch `edit` did: brought `facts` facts, or took those of `reverts` out."""

    version: int
    edit: str
    kind: str
    facts: int
    reverts: list[Any] | None


def steps(session: Session, model: str, number: int, *, deleted_too: bool = False) -> list[LineageStep]:
    """The versions from the base's first child to `number`, in their order.

    Raises NotFoundError. `deleted_too` is for a batch that runs while its parent is deleted: what the parent said does
    not change, and whether it is still there is asked when the batch is published.
    """
    if not deleted_too:
        lineage.get(session, model, number)
    line = lineage.line_of(model, number)
    query = select(VersionRow.number, BatchRow.id, BatchRow.kind, BatchRow.facts, BatchRow.reverts)
    query = query.join(line, line.c.number == VersionRow.number).join(BatchRow, BatchRow.id == VersionRow.batch_id)
    # A version has a greater number than its parent.
    query = query.where(VersionRow.model == model).order_by(VersionRow.number)
    return [LineageStep(*row) for row in session.execute(query)]


def reverted_facts(line: Iterable[LineageStep]) -> dict[tuple[str, int], int]:
    """(edit, index) → the version that took it out."""
    return {
        (entry["edit"], index): step.version
        for step in line
        for entry in step.reverts or ()
        for index in entry["facts"]
    }


def lineage_facts(session: Session, model: str, number: int) -> list[LineageFact]:
    """All facts of the edits from the base to version `number`, in their order."""
    line = steps(session, model, number)
    edits = [step for step in line if step.kind in FACT_KINDS]
    facts: dict[str, list[tuple[int, dict[str, Any]]]] = {step.edit: [] for step in edits}
    for ids in chunks(list(facts)):
        query = select(FactRow.batch_id, FactRow.number, FactRow.fact)
        for edit, index, fact in session.execute(query.where(FactRow.batch_id.in_(ids)).order_by(FactRow.number)):
            facts[edit].append((index, fact))
    stored = [(Place(step.edit, step.version, index), fact) for step in edits for index, fact in facts[step.edit]]
    return _with_states(stored, reverted_facts(line))


def without(facts: Sequence[LineageFact], leaving: Set[tuple[str, int]], by: int) -> list[LineageFact]:
    """`facts` of a lineage as they will be when version `by` takes `leaving`, (edit, index), out."""
    reverted = {
        (fact.place.edit, fact.place.index): by if fact.reverted_by is None else fact.reverted_by
        for fact in facts
        if fact.reverted_by is not None or (fact.place.edit, fact.place.index) in leaving
    }
    return _with_states([(fact.place, fact.fact) for fact in facts], reverted)


def neighbors(standing: Iterable[tuple[Place, Hashable]]) -> tuple[dict[Place, Place], dict[Place, Place]]:
    """For each fact the one before, and the one after it, that answers the same question in another batch.

    `standing` are places with their questions, in the lineage's order, without what was taken out.
    """
    answers: dict[Hashable, list[list[Place]]] = {}
    for place, question in standing:
        batches = answers.setdefault(question, [])
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


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """As many at a time as one query may name."""
    return (items[first : first + IN_ONE_QUERY] for first in range(0, len(items), IN_ONE_QUERY))


def _with_states(
    stored: Sequence[tuple[Place, dict[str, Any]]], reverted: Mapping[tuple[str, int], int]
) -> list[LineageFact]:
    before, after = neighbors(
        (place, question_key(fact["prompt"], fact["subject"]))
        for place, fact in stored
        if (place.edit, place.index) not in reverted
    )
    return [
        LineageFact(place, fact, reverted.get((place.edit, place.index)), before.get(place), after.get(place))
        for place, fact in stored
    ]
