"""The facts that an evaluation takes from a version instead of from its caller."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from api_schemas.references import version_name
from service.http.fields import invalid
from store.errors import FactsRemovedError, VersionUnavailableError
from store.lineage.fact_pages import Lineage, in_force, read_lineage, stored_facts
from store.lineage.facts_in_force import Place
from store.lineage.questions import is_removed
from store.lineage.retained_sample import SampledFact, sample_in_force
from store.schema.tables import VersionRow


def facts_said(session: Session, row: VersionRow, sample: int | None, seed: int, most: int) -> list[dict[str, Any]]:
    """What version `row` says, or a sample of it, at most `most`: facts with their place, as evaluations keep them.

    Raises InvalidFieldsError, VersionUnavailableError, FactsRemovedError.
    """
    name = version_name(row.number)
    if row.state == "unavailable":
        raise VersionUnavailableError(
            f"{name} of {row.model} is unavailable: a blob of its lineage is missing or damaged; repair the store from "
            "a backup, name another version in facts_of, or send the facts along"
        )
    if sample is not None and sample > most:
        raise invalid("sample", f"is {sample}, and at most {most} facts are measured at once; take a smaller sample")
    line = read_lineage(session, row.model, row.number)
    _check_kept(session, line)
    if sample is not None:
        found = sample_in_force(session, row.model, row.number, sample, seed)
    else:
        places = in_force(session, line)
        if len(places) > most:
            raise invalid(
                "facts_of",
                f"{name} says {len(places)} facts, at most {most} are measured at once; give a sample of up to {most}",
            )
        facts = stored_facts(session, places)
        found = [SampledFact(place, facts[place.edit, place.index]) for place in places]
    if not found:
        raise invalid("facts_of", f"{name} says no facts that came with an edit; name a version with facts in force")
    return [{**one.fact, "place": _as_kept(one.place)} for one in found]


def _check_kept(session: Session, line: Lineage) -> None:
    """Texts of an edit go all at once: its first fact tells. An edit that was taken out whole is not asked for."""
    taken = dict.fromkeys(line.edits, 0)
    for edit, _ in line.reverted:
        if edit in taken:
            taken[edit] += 1
    firsts = [line.place(edit, 0) for edit, step in line.edits.items() if taken[edit] < step.facts]
    kept = stored_facts(session, firsts)
    for place in firsts:
        if is_removed(kept[place.edit, 0]):
            raise FactsRemovedError(
                f"the texts of edit {place.edit}, which made {version_name(place.version)}, were removed; name a "
                "version before it in facts_of, or send the facts along"
            )


def _as_kept(place: Place) -> dict[str, Any]:
    return {"edit": place.edit, "version": version_name(place.version), "index": place.index}
