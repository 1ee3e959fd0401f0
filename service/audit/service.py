"""The audit log as clients see it."""

from __future__ import annotations

from api_schemas.access import AuditEntry, AuditPage
from service.http.cursors import read_cursor, write_cursor
from service.resources import Resources
from store.access import audit
from store.schema.access_tables import AuditRow


def page(
    resources: Resources, model: str | None, actor: str | None, action: str | None, cursor: str | None, limit: int
) -> AuditPage:
    """Newest first; what is of no model, such as keys, only for who may see all."""
    before = read_cursor("audit", cursor)
    models = resources.caller.models if model is None else {model}
    with resources.database.reading() as session:
        rows = audit.page(session, before, limit, models=models, actor=actor, action=action)
    more = write_cursor("audit", rows[limit - 1].id) if len(rows) > limit else None
    return AuditPage(data=[_entry(row) for row in rows[:limit]], next_cursor=more)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=row.actor,
        label=row.label,
        address=row.address,
        action=row.action,
        model=row.model,
        target=row.target,
        details=row.details,
    )
