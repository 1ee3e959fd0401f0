"""Rows of deployments as the API shows them: never with the target's key."""

from __future__ import annotations

from api_schemas.deployments import Deployment, DeploymentCheck, DeploymentEvent
from api_schemas.edits import EditError
from api_schemas.references import version_name
from store.clock import now
from store.schema.deployment_tables import DeploymentEventRow, DeploymentRow
from store.work.deployments import followed, lag_seconds

_RESTING: frozenset[str] = frozenset({"deployed"})


def deployment_view(row: DeploymentRow) -> Deployment:
    return Deployment.model_validate(
        {
            "id": row.id,
            "model": followed(row),
            "target": row.target,
            "name": row.name,
            "format": row.format,
            "has_key": row.key is not None,
            "state": row.state,
            "desired": _named(row.desired),
            "actual": _named(row.actual),
            "previous": _named(row.previous),
            "path": row.path,
            "lag_seconds": round(lag_seconds(row, now()), 3),
            "last_check": _check(row.last_check),
            "last_seen_at": row.last_seen_at,
            "error": None if row.error is None else EditError.model_validate(row.error),
            "attempts": row.attempts,
            "next_try_at": None if row.state in _RESTING else row.next_try_at,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )


def event_view(row: DeploymentEventRow) -> DeploymentEvent:
    return DeploymentEvent.model_validate(
        {
            "id": row.id,
            "at": row.at,
            "state": row.state,
            "version": _named(row.version),
            "detail": row.detail,
            "check": _check(row.check),
        }
    )


def _named(number: int | None) -> str | None:
    return None if number is None else version_name(number)


def _check(found: object) -> DeploymentCheck | None:
    return None if found is None else DeploymentCheck.model_validate(found)
