"""Which edits of a lineage wrote earlier facts again, beside their own (docs/decisions/0039-rehearsal.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.lineage.versions import line_of
from store.schema.tables import VersionRow

RESTATED: Final = "restated"
"""In a version's provenance: for each column that follows the batch's own in every layer, the facts that it writes
again, [{"edit", "index"}, …]."""

Column = Sequence[tuple[str, int]]
"""The facts of a column, (edit, index)."""


def restated_columns(session: Session, model: str, number: int) -> dict[str, list[Column]]:
    """By edit of the lineage of version `number`, those that it has: in the order in which they follow its own."""
    line = line_of(model, number)
    entries = VersionRow.provenance[RESTATED]
    query = select(VersionRow.batch_id, entries).join(line, line.c.number == VersionRow.number)
    query = query.where(VersionRow.model == model).order_by(VersionRow.number)
    return {
        edit: [[(fact["edit"], fact["index"]) for fact in column] for column in columns]
        for edit, columns in session.execute(query)
        if columns and edit is not None
    }
