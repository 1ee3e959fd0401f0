"""What a consolidation from another store stands for here: numbers of versions differ, ids of edits do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.lineage.facts_in_force import chunks
from store.schema.tables import VersionRow


def consolidated_here(session: Session, model: str, provenance: Mapping[str, Any]) -> int | None:
    """The number here of the version that a consolidation with that `provenance` is of; None where it is not here."""
    of = provenance.get("consolidates")
    return None if of is None else numbers_here(session, model, [of["edit"]]).get(of["edit"])


def origins_here(session: Session, model: str, origins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`origins` of a consolidation's facts with the numbers of their versions here; None for those not here."""
    numbers = numbers_here(session, model, {origin["edit"] for origin in origins})
    return [{**origin, "version": numbers.get(origin["edit"])} for origin in origins]


def numbers_here(session: Session, model: str, edits: Iterable[str]) -> dict[str, int]:
    """By the id of an edit the number of the version that it made of `model` here, where there is one."""
    found: dict[str, int] = {}
    for ids in chunks(list(edits)):
        query = select(VersionRow.batch_id, VersionRow.number)
        query = query.where(VersionRow.model == model, VersionRow.batch_id.in_(ids))
        found |= {edit: number for edit, number in session.execute(query) if edit is not None}
    return found
