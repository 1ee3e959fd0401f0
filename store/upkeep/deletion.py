"""Deletes versions that nothing needs. The number is never given again: the row stays, in the state "deleted"."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from api_schemas.references import version_name
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.errors import VersionNeededError
from store.lineage import versions as lineage
from store.schema.tables import AliasRow, BatchRow, EvaluationRow, ExportRow, VersionRow
from store.work import exports

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
        exports.remove(session, export)
    row.state, row.blob, row.matrices_blob, row.bytes = DELETED, None, None, 0
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
    running = select(BatchRow.id).where(
        BatchRow.model == model,
        BatchRow.state.not_in(FINAL_STATES),
        or_(BatchRow.base_version == number, BatchRow.branch_of == number, BatchRow.carried_to == number),
    )
    found += [f"edit {batch_id}" for batch_id in session.scalars(running.order_by(BatchRow.seq))]
    measured = select(EvaluationRow.id).where(
        EvaluationRow.model == model,
        EvaluationRow.finished_at.is_(None),
        or_(EvaluationRow.version == number, EvaluationRow.compare_with == number),
    )
    found += [f"evaluation {evaluation_id}" for evaluation_id in session.scalars(measured)]
    exported = select(ExportRow.id).where(
        ExportRow.model == model, ExportRow.version == number, ExportRow.finished_at.is_(None)
    )
    found += [f"export {export_id}" for export_id in session.scalars(exported)]
    return found


def _listed(needed: list[str]) -> str:
    more = len(needed) - _MOST_NAMED
    return ", ".join(needed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
