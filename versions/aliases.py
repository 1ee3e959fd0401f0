"""Queries that move aliases. Rollback is moving one."""

from __future__ import annotations

import re

from sqlalchemy.orm import Session

from api_schemas.references import ALIAS_PATTERN, LATEST, version_name
from versions import lineage, models
from versions.clock import now
from versions.errors import AliasMovedError, AliasReservedError, VersionNotFoundError
from versions.tables import AliasRow


def put(session: Session, model: str, alias: str, version: int, expected: int | None) -> AliasRow:
    """Point `alias` at `version`; where `expected` is given, only if it points there now."""
    if not re.match(ALIAS_PATTERN, alias):
        raise AliasReservedError(
            f"{alias!r} cannot be an alias: use lower-case letters, digits, '.', '_' and '-', starting with a letter, "
            "and not the form of a version (v7)"
        )
    models.get(session, model)
    lineage.get(session, model, version)
    row = session.get(AliasRow, (model, alias))
    if expected is not None and (row is None or row.version != expected):
        found = "does not exist" if row is None else f"points at {version_name(row.version)}"
        raise AliasMovedError(
            f"alias {alias!r} {found}, not at {version_name(expected)}; read it again and decide anew"
        )
    if row is None:
        row = AliasRow(model=model, alias=alias, version=version, updated_at=now())
        session.add(row)
    else:
        row.version, row.updated_at = version, now()
    session.flush()
    return row


def delete(session: Session, model: str, alias: str) -> None:
    if alias == LATEST:
        raise AliasReservedError("'latest' is what a model's bare name means; it can be moved but not deleted")
    models.get(session, model)
    row = session.get(AliasRow, (model, alias))
    if row is None:
        known = ", ".join(other.alias for other in lineage.aliases_of(session, model))
        raise VersionNotFoundError(f"model {model!r} has no alias {alias!r}; its aliases: {known}")
    session.delete(row)
