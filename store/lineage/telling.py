"""What receivers of webhooks are told of versions, aliases and lines, in the transaction in which it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from api_schemas.metrics import LINE_WORN
from api_schemas.references import version_name
from store.schema.tables import AliasRow, VersionRow
from store.webhooks import outbox


def version_published(session: Session, row: VersionRow, alias: str | None) -> None:
    """`alias` is the line that the batch was sent to, None of a branch."""
    data = {
        "model": row.model,
        "version": version_name(row.number),
        "parent": version_name(row.parent or 0),
        "edit": row.batch_id,
        "alias": alias,
        "facts": row.facts,
        "consolidates": None if row.consolidates is None else version_name(row.consolidates),
    }
    outbox.record(session, "version.published", row.model, data)


def alias_moved(session: Session, row: AliasRow, before: int | None, edit: str | None = None) -> None:
    """`before` is None of an alias that is new; `edit` is the batch whose publishing moved it."""
    data = {
        "model": row.model,
        "alias": row.alias,
        "version": version_name(row.version),
        "before": None if before is None else version_name(before),
        "edit": edit,
    }
    outbox.record(session, "alias.moved", row.model, data)


def line_worn(session: Session, row: VersionRow, alias: str | None) -> None:
    """Where the version was published with its line worn and its parent was not: told once, and not at every edit."""
    parent = session.get(VersionRow, (row.model, row.parent or 0))
    if is_worn(row.metrics) and not (parent is not None and is_worn(parent.metrics)):
        data = {"model": row.model, "version": version_name(row.number), "edit": row.batch_id, "alias": alias}
        outbox.record(session, "line.worn", row.model, data)


def is_worn(metrics: Mapping[str, Any] | None) -> bool:
    """As the check found it that made these measurements."""
    return any(one.get("code") == LINE_WORN for one in (metrics or {}).get("warnings") or ())
