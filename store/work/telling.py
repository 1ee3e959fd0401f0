"""What receivers of webhooks are told of edits that have ended."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.schema.tables import BatchRow, JobRow
from store.webhooks import outbox


def edit_finished(session: Session, row: JobRow) -> None:
    """However it ended. Of an error its code alone: what it says may quote a fact."""
    if not isinstance(row, BatchRow):
        return
    data = {
        "edit": row.id,
        "kind": row.kind,
        "state": row.state,
        "model": row.model,
        "requested": row.requested,
        "version": None if row.version is None else version_name(row.version),
        "facts": row.facts,
        "dry_run": row.dry_run,
        "label": row.label,
        "error": None if row.error is None else row.error.get("code"),
    }
    outbox.record(session, "edit.finished", row.model, data)
