"""Finding the file of a version, or having it made."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from api_schemas.edits import EditError, Progress
from api_schemas.exports import FILE_KINDS, ExportFormat, ExportJob
from api_schemas.references import version_name
from service import jobs
from service.access.quotas import check_quotas
from service.errors import ExportFailedError, NothingToExportError
from service.models.references import model_named, version_reference
from service.resources import Resources
from store.access import audit
from store.lineage import versions as lineage
from store.schema.tables import ExportRow, VersionRow
from store.work import exports, lifecycle
from store.work.kinds import EXPORT

log = structlog.get_logger(__name__)

NO_RANK = 0
"""`max_rank` in the row of an export whose rank is not bounded."""


def find_or_make(
    resources: Resources, name: str, version: str, format: ExportFormat, max_rank: int, *, base_too: bool = False
) -> ExportRow:
    """The export of that kind, finished or not. Raises ExportFailedError where it could not be made.

    Nobody asks for the base, except `base_too`: what follows an alias follows it to the base.
    """
    limit = max_rank if FILE_KINDS[format].takes_max_rank else NO_RANK
    with resources.database.reading() as session:
        number = _exportable(session, name, version, base_too).number
        row = _standing(resources, session, name, number, format, limit)
    if row is None:
        with resources.database.writing() as session:
            row = _standing(resources, session, name, number, format, limit)
            if row is None:
                row = _make(resources, session, name, number, format, limit)
        resources.relay.wake()
    return _unless_failed(row)


def get(resources: Resources, export_id: str) -> ExportRow:
    """Raises ExportFailedError where it could not be made."""
    with resources.database.reading() as session:
        return _unless_failed(lifecycle.get(session, EXPORT, export_id))


def export_job(row: ExportRow) -> ExportJob:
    return ExportJob.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "model": f"{row.model}@{version_name(row.version)}",
            "format": row.format,
            "max_rank": row.max_rank or None,
            "progress": Progress.model_validate(row.progress),
            "error": None if row.error is None else EditError.model_validate(row.error),
            "created_at": row.created_at,
            "finished_at": row.finished_at,
        }
    )


def address(row: ExportRow) -> str:
    """Where the file is had once it is there: the same question, with the version pinned."""
    limit = f"&max_rank={row.max_rank}" if row.max_rank else ""
    return f"/v1/models/{row.model}/versions/{version_name(row.version)}/export?format={row.format}{limit}"


def _exportable(session: Session, name: str, version: str, base_too: bool) -> VersionRow:
    model_named(session, name)
    row = lineage.resolve(session, version_reference(name, version))
    if row.parent is None and not base_too:
        raise NothingToExportError(f"{name}@{version_name(row.number)} is the base: nothing of it was edited")
    return row


def _standing(
    resources: Resources, session: Session, name: str, number: int, format: str, limit: int
) -> ExportRow | None:
    row = exports.find(session, name, number, format, limit)
    if row is not None and row.blob is not None and not resources.blobs.exists(row.blob):
        return None
    return row


def _make(resources: Resources, session: Session, name: str, number: int, format: str, limit: int) -> ExportRow:
    jobs.check_room(resources, session, EXPORT, name)
    check_quotas(session, resources.caller, 0, "export")
    row = exports.create(session, model=name, version=number, format=format, max_rank=limit, caller=resources.caller.id)
    audit.record(
        session,
        resources.caller.actor,
        "export.accepted",
        model=name,
        target=row.id,
        version=version_name(number),
        format=format,
    )
    log.info("export accepted", export=row.id, model=name, version=number, format=format)
    return row


def _unless_failed(row: ExportRow) -> ExportRow:
    if row.error is not None:
        raise ExportFailedError(row.error["code"], row.error["detail"], exports.may_be_retried(row))
    return row
