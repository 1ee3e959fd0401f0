"""What a request to revert means: which facts of which edits of a lineage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from api_schemas.references import version_name
from versions import batches, lineage
from versions.errors import FactsRemovedError, NotInLineageError
from versions.lineage_facts import LineageFact, lineage_facts
from versions.retention import is_removed


def facts_to_revert(
    session: Session, model: str, number: int, *, of: int | None, indices: Sequence[int], edits: Sequence[str]
) -> list[LineageFact]:
    """Facts `indices` of the batch that made version `of`, and all that is left of the batches `edits`.

    All must be in the lineage of version `number`, and not be taken out yet. Raises NotInLineageError, NotFoundError.
    """
    here = lineage_facts(session, model, number)
    by_edit: dict[str, list[LineageFact]] = {}
    for one in here:
        by_edit.setdefault(one.place.edit, []).append(one)
    name = version_name(number)
    chosen: dict[tuple[str, int], LineageFact] = {}
    if of is not None:
        for one in _of_version(session, model, of, indices, by_edit, name):
            chosen[one.place.edit, one.place.index] = one
    for edit in edits:
        if edit not in by_edit:
            batches.get(session, edit)
            known = ", ".join(by_edit) or "none"
            raise NotInLineageError(f"edit {edit!r} is not in the lineage of {name}; its edits: {known}")
        left = [one for one in by_edit[edit] if one.reverted_by is None]
        if not left:
            raise NotInLineageError(f"all facts of edit {edit!r} were taken out already; {name} has none of them")
        chosen |= {(edit, one.place.index): one for one in left}
    for one in chosen.values():
        if is_removed(one.fact):
            raise FactsRemovedError(
                f"the texts of edit {one.place.edit} were removed, and taking facts out needs them; point an alias at "
                f"a version before {version_name(one.place.version)} instead"
            )
    return list(chosen.values())


def _of_version(
    session: Session, model: str, of: int, indices: Sequence[int], by_edit: dict[str, list[LineageFact]], name: str
) -> list[LineageFact]:
    row = lineage.get(session, model, of)
    made = version_name(of)
    if row.batch_id is None:
        raise NotInLineageError(f"{made} is the base: it has no facts that could be taken out")
    if batches.get(session, row.batch_id).kind == "revert":
        raise NotInLineageError(
            f"{made} is a revert itself: it added no facts. Name the version of an edit in `of`, or move the alias back"
        )
    if row.batch_id not in by_edit:
        raise NotInLineageError(f"{made} is not in the lineage of {name}; its facts are not in it")
    facts = by_edit[row.batch_id]
    for index in indices:
        if index >= len(facts):
            raise NotInLineageError(
                f"fact {index} does not exist: the batch of {made} has {len(facts)} facts, 0 to {len(facts) - 1}"
            )
        taken = facts[index].reverted_by
        if taken is not None:
            raise NotInLineageError(f"fact {index} of {made} was taken out already, by {version_name(taken)}")
    return [facts[index] for index in dict.fromkeys(indices)]


def as_reverts(facts: Sequence[LineageFact]) -> list[dict[str, Any]]:
    """As a batch's row keeps it: by edit, with the indices in order."""
    found: dict[str, list[int]] = {}
    for one in facts:
        found.setdefault(one.place.edit, []).append(one.place.index)
    return [{"edit": edit, "facts": sorted(indices)} for edit, indices in found.items()]
