"""Reads the facts of a lineage by pages: it may have a hundred thousand, and only those asked for are read whole.

What became of a fact depends on those with the same question alone, and these are found by its key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.lineage.facts_in_force import (
    FACT_KINDS,
    LineageFact,
    LineageStep,
    Place,
    chunks,
    neighbors,
    reverted_facts,
    steps,
)
from store.lineage.questions import question_of
from store.schema.tables import BatchRow, FactRow

_LONGEST_WINDOW: Final = 2000

Column = TypeVar("Column")
Stored = dict[tuple[str, int], Column]
"""By (edit, index)."""


@dataclass(frozen=True)
class Lineage:
    """The edits of a version's lineage in their order, and (edit, index) → version of what was taken out of them."""

    edits: dict[str, LineageStep]
    reverted: dict[tuple[str, int], int]

    def place(self, edit: str, index: int) -> Place:
        return Place(edit, self.edits[edit].version, index)


def read_lineage(session: Session, model: str, number: int, *, deleted_too: bool = False) -> Lineage:
    """Raises NotFoundError; `deleted_too` as in `steps`."""
    line = steps(session, model, number, deleted_too=deleted_too)
    return Lineage({step.edit: step for step in line if step.kind in FACT_KINDS}, reverted_facts(line))


def page(
    session: Session, model: str, number: int, first: int, limit: int, *, in_force: bool
) -> tuple[list[LineageFact], int | None]:
    """At most `limit` facts of the lineage of version `number` from the one at `first` on, and where to go on.

    Places count all facts of the lineage; `in_force` leaves out those that were corrected or taken out.
    """
    line = read_lineage(session, model, number)
    total = sum(step.facts for step in line.edits.values())
    page_places: list[tuple[int, Place]] = []
    length = limit + 1
    while first < total and len(page_places) <= limit:
        window = _window(session, line, first, length)
        after = _corrections(session, line, window) if in_force else {}
        page_places += [
            (at, place)
            for at, (place, _) in enumerate(window, first)
            if not in_force or ((place.edit, place.index) not in line.reverted and place not in after)
        ]
        first += length
        length = min(2 * length, _LONGEST_WINDOW)
    facts = facts_at(session, line, [place for _, place in page_places[:limit]])
    return facts, page_places[limit][0] if len(page_places) > limit else None


def in_force(session: Session, line: Lineage) -> list[Place]:
    """Where the facts that a version says stand, in their order."""
    rows: list[tuple[str, int, str]] = []
    for ids in chunks(list(line.edits)):
        query = select(FactRow.batch_id, FactRow.number, FactRow.question).where(FactRow.batch_id.in_(ids))
        rows += [(edit, index, question) for edit, index, question in session.execute(query)]
    standing = _in_order(line, rows)
    _, after = neighbors(standing)
    return [place for place, _ in standing if place not in after]


def facts_at(session: Session, line: Lineage, places: Sequence[Place]) -> list[LineageFact]:
    """The facts at `places` of the lineage, and what became of them there."""
    facts = stored_facts(session, places)
    origins = stored_origins(session, [place for place in places if line.edits[place.edit].kind == "consolidation"])
    before, after = neighbors(standing_facts(session, line, {question_of(fact) for fact in facts.values()}))
    return [
        LineageFact(
            place,
            facts[place.edit, place.index],
            line.reverted.get((place.edit, place.index)),
            before.get(place),
            after.get(place),
            origins.get((place.edit, place.index)),
        )
        for place in places
    ]


def stored_facts(session: Session, places: Iterable[Place]) -> dict[tuple[str, int], dict[str, Any]]:
    """The facts at `places` as they were sent, by (edit, index)."""
    return _stored(session, FactRow.fact, places)


def stored_origins(session: Session, places: Iterable[Place]) -> dict[tuple[str, int], dict[str, Any]]:
    """The origins of those facts at `places` that stand for another, by (edit, index)."""
    stored = _stored(session, FactRow.origin, places)
    return {place: origin for place, origin in stored.items() if origin is not None}


def stored_questions(session: Session, places: Iterable[Place]) -> dict[tuple[str, int], str]:
    """The questions of the facts at `places`, by (edit, index)."""
    return _stored(session, FactRow.question, places)


def _stored(session: Session, column: InstrumentedAttribute[Column], places: Iterable[Place]) -> Stored[Column]:
    """`column` of the facts at `places`."""
    stored: Stored[Column] = {}
    for chunk in chunks([(place.edit, place.index) for place in places]):
        query = select(FactRow.batch_id, FactRow.number, column)
        query = query.where(tuple_(FactRow.batch_id, FactRow.number).in_(chunk))
        stored |= {(edit, index): value for edit, index, value in session.execute(query)}
    return stored


def superseded(session: Session, batch: BatchRow, facts: Sequence[Mapping[str, Any]]) -> list[Place | None]:
    """For each of `facts` of `batch` the fact that it corrects: the one of its parent's lineage that was in force.

    None for all of a batch that has no parent yet, and of a revert, which says nothing of its own.
    """
    if batch.base_version is None or batch.kind == "revert":
        return [None] * len(facts)
    line = read_lineage(session, batch.model, batch.base_version)
    asked = [question_of(fact) for fact in facts]
    last = {question: place for place, question in standing_facts(session, line, set(asked))}
    return [last.get(question) for question in asked]


def _window(session: Session, line: Lineage, first: int, length: int) -> list[tuple[Place, str]]:
    """The places `first` to `first + length` of the lineage, and their questions."""
    inside: list[tuple[str, int, int]] = []
    before = 0
    for step in line.edits.values():
        start, end = max(first - before, 0), min(first + length - before, step.facts)
        if start < end:
            inside.append((step.edit, start, end))
        before += step.facts
    stored: dict[tuple[str, int], str] = {}
    for chunk in chunks(inside):
        (head, start, _), (tail, _, end) = chunk[0], chunk[-1]  # all others are wanted whole
        query = select(FactRow.batch_id, FactRow.number, FactRow.question).where(
            FactRow.batch_id.in_([edit for edit, _, _ in chunk]),
            or_(FactRow.batch_id != head, FactRow.number >= start),
            or_(FactRow.batch_id != tail, FactRow.number < end),
        )
        stored |= {(edit, index): question for edit, index, question in session.execute(query)}
    return [(line.place(edit, at), stored[edit, at]) for edit, start, end in inside for at in range(start, end)]


def _corrections(session: Session, line: Lineage, window: Sequence[tuple[Place, str]]) -> dict[Place, Place]:
    """Where a fact of `window` was corrected, and by which."""
    return neighbors(standing_facts(session, line, {question for _, question in window}))[1]


def standing_facts(session: Session, line: Lineage, questions: Collection[str]) -> list[tuple[Place, str]]:
    """The facts of the lineage that answer one of `questions` and were not taken out, in their order."""
    rows: list[tuple[str, int, str]] = []
    for chunk in chunks(list(questions)):
        query = select(FactRow.batch_id, FactRow.number, FactRow.question).where(FactRow.question.in_(chunk))
        rows += [(edit, index, question) for edit, index, question in session.execute(query) if edit in line.edits]
    return _in_order(line, rows)


def _in_order(line: Lineage, rows: Iterable[tuple[str, int, str]]) -> list[tuple[Place, str]]:
    standing = [
        (line.place(edit, index), question) for edit, index, question in rows if (edit, index) not in line.reverted
    ]
    return sorted(standing, key=lambda one: (one[0].version, one[0].index))
