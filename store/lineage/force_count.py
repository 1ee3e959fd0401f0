"""Counts the facts that a version says, from its parent's count and the questions of its own batch alone."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.lineage.fact_pages import Lineage, in_force, read_lineage, standing_facts
from store.lineage.facts_in_force import Place, neighbors
from store.schema.tables import BatchRow, FactRow, VersionRow


def facts_in_force_after(session: Session, batch: BatchRow, base: int) -> int:
    """How many facts a version made by `batch` on version `base` says: the parent's, and what the batch changes.

    What an edit corrects leaves; what a revert takes out leaves, and what was corrected by it is back. A line that an
    older release made is counted whole, once.
    """
    line = read_lineage(session, batch.model, base, deleted_too=True)
    questions = set(session.scalars(select(FactRow.question).where(FactRow.batch_id == batch.id).distinct()))
    standing = standing_facts(session, line, questions)
    leaving = {(entry["edit"], index) for entry in batch.reverts or () for index in entry["facts"]}
    staying = [(place, question) for place, question in standing if (place.edit, place.index) not in leaving]
    after = _said(staying) if batch.kind == "revert" else batch.facts
    return _of_version(session, line, batch.model, base) - _said(standing) + after


def _said(standing: list[tuple[Place, str]]) -> int:
    _, after = neighbors(standing)
    return sum(place not in after for place, _ in standing)


def _of_version(session: Session, line: Lineage, model: str, number: int) -> int:
    row = session.get_one(VersionRow, (model, number))
    if row.parent is None:
        return 0
    return len(in_force(session, line)) if row.facts_in_force is None else row.facts_in_force
