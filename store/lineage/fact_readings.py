"""Keeps what checks read of single facts: of a batch's own, and of the sample of those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.orm import Session

from store.clock import now
from store.lineage import versions as lineage
from store.lineage.facts_in_force import Place, chunks
from store.schema.reading_tables import FactReadingRow

_NEW_READINGS: Final = insert(FactReadingRow)


@dataclass(frozen=True)
class FactReadings:
    """Fact `index` of the batch `edit` by metric, {"EM": 1.0}: at the parent and with the new weights. What was not
    read there is not in it."""

    edit: str
    index: int
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)


def keep(session: Session, model: str, version: int, readings: Sequence[FactReadings]) -> None:
    """What the check of `version` read, each fact once."""
    rows = [
        {
            "model": model,
            "version": version,
            "batch_id": one.edit,
            "number": one.index,
            "before": dict(one.before),
            "after": dict(one.after),
            "created_at": now(),
        }
        for one in readings
    ]
    if rows:  # past the ORM: nothing but rows is wanted of it
        session.connection().execute(_NEW_READINGS, rows)


def at_version(session: Session, model: str, version: int, places: Sequence[Place]) -> dict[Place, dict[str, Any]]:
    """Of those of `places` that the check of `version` read: what it read with that version's weights."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for chunk in chunks([(place.edit, place.index) for place in places]):
        query = select(FactReadingRow.batch_id, FactReadingRow.number, FactReadingRow.after).where(
            FactReadingRow.model == model,
            FactReadingRow.version == version,
            tuple_(FactReadingRow.batch_id, FactReadingRow.number).in_(chunk),
        )
        found |= {(edit, index): after for edit, index, after in session.execute(query)}
    return {place: found[place.edit, place.index] for place in places if (place.edit, place.index) in found}


def newest(
    session: Session, model: str, number: int, places: Sequence[Place]
) -> dict[Place, tuple[int, dict[str, Any]]]:
    """Of each of `places` the last version of the lineage of `number` whose check read it, and what was read then."""
    row = FactReadingRow
    found: dict[tuple[str, int], tuple[int, dict[str, Any]]] = {}
    for chunk in chunks([(place.edit, place.index) for place in places]):
        last = (
            select(row.batch_id, row.number, func.max(row.version).label("version"))
            .where(
                row.model == model,
                tuple_(row.batch_id, row.number).in_(chunk),
                row.version.in_(select(lineage.line_of(model, number).c.number)),
            )
            .group_by(row.batch_id, row.number)
            .subquery()
        )
        query = select(row.batch_id, row.number, row.version, row.after).join(
            last,
            (row.batch_id == last.c.batch_id) & (row.number == last.c.number) & (row.version == last.c.version),
        )
        rows = session.execute(query.where(row.model == model))
        found |= {(edit, index): (version, after) for edit, index, version, after in rows}
    return {place: found[place.edit, place.index] for place in places if (place.edit, place.index) in found}
