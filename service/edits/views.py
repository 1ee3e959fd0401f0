"""A batch's row as clients see it."""

from __future__ import annotations

from typing import Any, Final, get_args

from api_schemas.edits import EditError, EditEvent, EditJob, EditState, Progress
from api_schemas.metrics import BatchMetrics
from api_schemas.references import version_name
from store.schema.tables import BatchRow, EventRow

_STATES: Final = get_args(EditState)
_VERSIONS: Final = ("version", "base_version")
"""Numbers in an event's data that clients see as names."""


def edit_job(row: BatchRow) -> EditJob:
    return EditJob.model_validate(
        {
            "id": row.id,
            "kind": row.kind,
            "state": row.state,
            "model": row.model,
            "requested": row.requested,
            "base_version": _named(row.base_version),
            "version": _named(row.version),
            "algorithm": row.algorithm,
            "settings": row.settings,
            "facts": row.facts,
            "left_out": row.left_out_count or 0,
            "reverts": row.reverts or [],
            "consolidates": _named(row.consolidates),
            "label": row.label,
            "thresholds": row.thresholds,
            "budget": row.budget or {},
            "dry_run": row.dry_run,
            "urgent": row.urgent,
            "progress": Progress.model_validate(row.progress),
            "metrics": None if row.metrics is None else BatchMetrics.model_validate(row.metrics),
            "error": None if row.error is None else EditError.model_validate(row.error),
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
        }
    )


def edit_event(row: EventRow) -> EditEvent:
    details = {name: _named(value) if name in _VERSIONS else value for name, value in row.data.items()}
    return EditEvent.model_validate(
        {
            "id": row.id,
            "edit": row.batch_id,
            "kind": row.kind,
            "state": row.kind if row.kind in _STATES else None,
            "at": row.created_at,
            "details": details,
        }
    )


def numbered(facts: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """Facts with their index in the batch."""
    return [{"index": index, **fact} for index, fact in enumerate(facts, start=first)]


def _named(number: int | None) -> str | None:
    return None if number is None else version_name(number)
