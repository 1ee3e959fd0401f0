"""What a request to consolidate means: the facts that a version says, each with the place that it has in history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from api_schemas.references import version_name
from store.errors import (
    ConsolidationRunsError,
    FactsRemovedError,
    NothingToConsolidateError,
    TooManyFactsError,
    VersionUnavailableError,
)
from store.lineage import versions as lineage
from store.lineage.fact_pages import in_force, read_lineage, stored_facts, stored_origins
from store.lineage.facts_in_force import Place
from store.lineage.questions import is_removed
from store.schema.tables import BatchRow

MOST_FACTS: Final = 10_000
"""As many as a batch has at most by default; beyond that a joint solve is no longer a small part of the work."""


@dataclass(frozen=True)
class FactInForce:
    """A fact that a version says. `origin` is the fact that was sent at first; see `FactRow`."""

    place: Place
    fact: dict[str, Any]
    origin: dict[str, Any]


def facts_to_consolidate(session: Session, model: str, number: int) -> list[FactInForce]:
    """The facts that version `number` says, in the order of its lineage.

    Raises NothingToConsolidateError, TooManyFactsError, VersionUnavailableError, FactsRemovedError, NotFoundError.
    """
    row, name = lineage.get(session, model, number), version_name(number)
    if row.parent is None:
        raise NothingToConsolidateError(f"{name} is the base and says no facts: name a version that edits have made")
    if row.state != "available":
        raise VersionUnavailableError(
            f"{name} is {row.state}: a blob of its lineage is missing or damaged, and it could not be measured beside "
            "what would replace it; restore the blob, or consolidate an earlier version"
        )
    line = read_lineage(session, model, number)
    places = in_force(session, line)
    if not places:
        raise NothingToConsolidateError(
            f"{name} says no facts: all of its lineage were taken out, which the base says as well; point the alias at "
            f"{version_name(0)}"
        )
    if len(places) > MOST_FACTS:
        raise TooManyFactsError(
            f"{name} says {len(places)} facts, and a consolidation takes {MOST_FACTS}; take out what is no longer "
            "needed, or consolidate an earlier version"
        )
    facts = stored_facts(session, places)
    origins = stored_origins(session, [place for place in places if line.edits[place.edit].kind == "consolidation"])
    found = [
        FactInForce(place, facts[place.edit, place.index], _origin(place, origins.get((place.edit, place.index))))
        for place in places
    ]
    check_kept(found)
    return found


def check_free(session: Session, model: str, number: int) -> None:
    """Raises ConsolidationRunsError naming the consolidation of that version that waits or runs."""
    running = session.scalar(
        select(BatchRow.id)
        .where(BatchRow.model == model, BatchRow.consolidates == number, BatchRow.state.not_in(FINAL_STATES))
        .limit(1)
    )
    if running is not None:
        raise ConsolidationRunsError(
            f"{version_name(number)} is being consolidated by {running} already; wait for its end, or cancel it first"
        )


def check_still_kept(session: Session, facts: Sequence[FactInForce]) -> None:
    """Raises FactsRemovedError where the texts of an edit went since they were read; they go all at once."""
    firsts = {one.place.edit: one for one in facts}
    now = stored_facts(session, [one.place for one in firsts.values()])
    check_kept([FactInForce(one.place, now[one.place.edit, one.place.index], {}) for one in firsts.values()])


def check_kept(facts: Sequence[FactInForce]) -> None:
    """Raises FactsRemovedError."""
    for one in facts:
        if is_removed(one.fact):
            raise FactsRemovedError(
                f"the texts of edit {one.place.edit}, which made {version_name(one.place.version)}, were removed, and "
                "consolidating needs them; send its facts anew, or take that edit's facts out by its id while texts "
                "are kept"
            )


def source_of(origin: dict[str, Any]) -> tuple[str, int]:
    """(edit, index) of the fact of the consolidated lineage itself that a fact with this `origin` was copied from."""
    place = origin.get("from", origin)
    return place["edit"], place["index"]


def _origin(place: Place, earlier: dict[str, Any] | None) -> dict[str, Any]:
    if earlier is None:
        return {"edit": place.edit, "index": place.index, "version": place.version}
    first = {name: earlier[name] for name in ("edit", "index", "version")}
    return {**first, "from": {"edit": place.edit, "index": place.index}}
