"""What a request to revert means: which facts of which edits of a lineage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.errors import FactsRemovedError, NotInLineageError
from store.lineage import versions as lineage
from store.lineage.fact_pages import Lineage, read_lineage, stored_facts
from store.lineage.facts_in_force import Place
from store.lineage.questions import is_removed
from store.work import batches


@dataclass(frozen=True)
class LeavingFact:
    """A fact that shall be taken out."""

    place: Place
    fact: dict[str, Any]


def facts_to_revert(
    session: Session, model: str, number: int, *, of: int | None, indices: Sequence[int], edits: Sequence[str]
) -> list[LeavingFact]:
    """Facts `indices` of the batch that made version `of`, and all that is left of the batches `edits`.

    All must be in the lineage of version `number`, and not be taken out yet. Raises NotInLineageError, NotFoundError.
    """
    here = read_lineage(session, model, number)
    name = version_name(number)
    chosen: dict[Place, None] = {}
    if of is not None:
        chosen |= dict.fromkeys(_of_version(session, model, of, indices, here, name))
    for edit in edits:
        if edit not in here.edits:
            batches.get(session, edit)
            known = ", ".join(here.edits) or "none"
            raise NotInLineageError(f"edit {edit!r} is not in the lineage of {name}; its edits: {known}")
        left = [index for index in range(here.edits[edit].facts) if (edit, index) not in here.reverted]
        if not left:
            raise NotInLineageError(f"all facts of edit {edit!r} were taken out already; {name} has none of them")
        chosen |= dict.fromkeys(here.place(edit, index) for index in left)
    facts = stored_facts(session, chosen)
    found = [LeavingFact(place, facts[place.edit, place.index]) for place in chosen]
    check_kept(found)
    return found


def check_still_kept(session: Session, facts: Sequence[LeavingFact]) -> None:
    """Raises FactsRemovedError where the texts of an edit went since they were read; they go all at once."""
    firsts = {one.place.edit: one.place for one in facts}
    now = stored_facts(session, firsts.values())
    check_kept([LeavingFact(place, now[place.edit, place.index]) for place in firsts.values()])


def check_kept(facts: Sequence[LeavingFact]) -> None:
    """Raises FactsRemovedError."""
    for one in facts:
        if is_removed(one.fact):
            raise FactsRemovedError(
                f"the texts of edit {one.place.edit} were removed, and taking facts out needs them; point an alias at "
                f"a version before {version_name(one.place.version)} instead"
            )


def _of_version(session: Session, model: str, of: int, indices: Sequence[int], here: Lineage, name: str) -> list[Place]:
    row = lineage.get(session, model, of)
    made = version_name(of)
    if row.batch_id is None:
        raise NotInLineageError(f"{made} is the base: it has no facts that could be taken out")
    if batches.get(session, row.batch_id).kind == "revert":
        raise NotInLineageError(
            f"{made} is a revert itself: it added no facts. Name the version of an edit in `of`, or move the alias back"
        )
    if row.batch_id not in here.edits:
        raise NotInLineageError(f"{made} is not in the lineage of {name}; its facts are not in it")
    count = here.edits[row.batch_id].facts
    for index in indices:
        if index >= count:
            raise NotInLineageError(
                f"fact {index} does not exist: the batch of {made} has {count} facts, 0 to {count - 1}"
            )
        taken = here.reverted.get((row.batch_id, index))
        if taken is not None:
            raise NotInLineageError(f"fact {index} of {made} was taken out already, by {version_name(taken)}")
    return [here.place(row.batch_id, index) for index in indices]


def as_reverts(facts: Sequence[LeavingFact]) -> list[dict[str, Any]]:
    """As a batch's row keeps it: by edit, with the indices in order."""
    found: dict[str, list[int]] = {}
    for one in facts:
        found.setdefault(one.place.edit, []).append(one.place.index)
    return [{"edit": edit, "facts": sorted(indices)} for edit, indices in found.items()]
