"""Deletes versions that nothing needs. The number is never given again: the row stays, in the state "deleted"."""

from __future__ import annotations

from sqlalchemy import delete as delete_rows
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.errors import VersionNeededError
from store.lineage import versions as lineage
from store.schema.measurement_tables import DownstreamRow
from store.schema.reading_tables import FactReadingRow
from store.schema.tables import AliasRow, ExportRow, VersionRow
from store.work import lifecycle
from store.work.kinds import KINDS

DELETED = "deleted"
_MOST_NAMED = 10


def delete(session: Session, actor: Actor, model: str, number: int) -> None:
    """Take a version away; its blobs go with the garbage. Raises VersionNeededError naming what needs it."""
    row = lineage.get(session, model, number)
    needed = needed_by(session, model, number)
    if needed:
        raise VersionNeededError(
            f"version {version_name(number)} of {model} is needed by {_listed(needed)}; move or delete those first"
        )
    for export in session.scalars(select(ExportRow).where(ExportRow.model == model, ExportRow.version == number)):
        lifecycle.remove(session, export)
    for table in (FactReadingRow, DownstreamRow):
        session.execute(delete_rows(table).where(table.model == model, table.version == number))
    row.state, row.blob, row.matrices_blob, row.matrix_blobs = DELETED, None, None, None
    row.bytes, row.delta_bytes, row.matrix_bytes = 0, 0, 0
    row.provenance = {"deleted_at": now().isoformat()}
    audit.record(session, actor, "version.deleted", model=model, target=version_name(number))
    session.flush()


def needed_by(session: Session, model: str, number: int) -> list[str]:
    """What would be broken without the version, in words."""
    if number == 0:
        return ["every version, as their base"]
    found = [
        f"alias {alias!r}"
        for alias in session.scalars(
            select(AliasRow.alias).where(AliasRow.model == model, AliasRow.version == number).order_by(AliasRow.alias)
        )
    ]
    children = select(VersionRow.number).where(
        VersionRow.model == model, VersionRow.parent == number, VersionRow.state != DELETED
    )
    found += [f"version {version_name(child)}" for child in session.scalars(children.order_by(VersionRow.number))]
    for kind in KINDS:
        if kind.versions:
            query = select(kind.row.id).where(
                kind.row.model == model, kind.unfinished, or_(*(column == number for column in kind.versions))
            )
            found += [f"{kind.name} {row_id}" for row_id in session.scalars(query.order_by(kind.in_order))]
        if kind.more_versions is not None:
            listed = select(kind.row.id, kind.more_versions).where(kind.row.model == model, kind.unfinished)
            rows = session.execute(listed.order_by(kind.in_order))
            found += [f"{kind.name} {row_id}" for row_id, numbers in rows if number in (numbers or ())]
    return list(dict.fromkeys(found))


def _listed(needed: list[str]) -> str:
    more = len(needed) - _MOST_NAMED
    return ", ".join(needed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
