"""Keeping what other programs measured of versions, and reading it."""

from __future__ import annotations

import structlog

from api_schemas.downstream import DownstreamPage, DownstreamResult, DownstreamSubmission
from api_schemas.references import version_name
from service.http.cursors import read_cursor, write_cursor
from service.models.references import model_named, version_reference
from service.resources import Resources
from store.access import audit
from store.lineage import downstream
from store.lineage import versions as lineage
from store.schema.measurement_tables import DownstreamRow

log = structlog.get_logger(__name__)


def add(resources: Resources, name: str, version: str, sent: DownstreamSubmission) -> DownstreamResult:
    """What is kept is never changed: newer results stand before older ones."""
    with resources.database.writing() as session:
        model_named(session, name)
        number = lineage.resolve(session, version_reference(name, version)).number
        kept = sent.model_dump(mode="json")
        row = downstream.add(session, name, number, **kept, caller=resources.caller.id)
        audit.record(
            session,
            resources.caller.actor,
            "downstream.kept",
            model=name,
            target=row.id,
            version=version_name(number),
            harness=sent.harness.name,
            tasks=len(sent.results),
        )
        found = _result(row)
    log.info("downstream results kept", model=name, version=found.version, tasks=len(sent.results))
    return found


def page(resources: Resources, name: str, version: str, cursor: str | None, limit: int) -> DownstreamPage:
    """Newest first."""
    before = read_cursor("downstream", cursor)
    with resources.database.reading() as session:
        model_named(session, name)
        number = lineage.resolve(session, version_reference(name, version)).number
        rows = downstream.page(session, name, number, before, limit)
        more = write_cursor("downstream", rows[limit - 1].seq) if len(rows) > limit else None
        return DownstreamPage(data=[_result(row) for row in rows[:limit]], next_cursor=more)


def _result(row: DownstreamRow) -> DownstreamResult:
    return DownstreamResult.model_validate(
        {
            "id": row.id,
            "model": row.model,
            "version": version_name(row.version),
            "harness": row.harness,
            "settings": row.settings,
            "results": row.results,
            "created_at": row.created_at,
        }
    )
