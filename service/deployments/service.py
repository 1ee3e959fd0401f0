"""Accepting deployments, showing them, and ending them."""

from __future__ import annotations

import httpx
import structlog
from sqlalchemy.orm import Session

from api_schemas.deployments import (
    Deployment,
    DeploymentEventPage,
    DeploymentPage,
    DeploymentRequest,
    RemovedDeployment,
)
from configuration.deployment_settings import origin_of
from configuration.settings import Settings
from service.deployments.engine import PREFIX, Engine, EngineError, engines_client
from service.deployments.files import is_adapter
from service.deployments.views import deployment_view, event_view
from service.http.bodies import read_model
from service.http.cursors import read_cursor, write_cursor
from service.http.fields import invalid, shown
from service.models.references import reference_in
from service.resources import Resources
from store.access import audit
from store.lineage import models
from store.lineage import versions as lineage
from store.schema.deployment_tables import DeploymentRow
from store.work import deployments
from store.work.deployments import NewDeployment, followed

log = structlog.get_logger(__name__)


def create(resources: Resources, body: bytes) -> Deployment:
    """Keep what shall be served where; the reconciler does it. Raises InvalidFieldsError, ConflictError."""
    request = read_model(body, DeploymentRequest)
    reference = reference_in(request.model)
    resources.caller.check_model(reference.name)
    target = allowed_target(resources.settings, request.target)
    with resources.database.writing() as session:
        models.get(session, reference.name)
        lineage.resolve(session, reference)
        new = NewDeployment(
            model=reference.name,
            alias=reference.alias,
            version=reference.version,
            target=target,
            name=request.name or str(reference),
            format=request.format,
            folder=request.folder,
            key=None if request.key is None else request.key.get_secret_value(),
            caller=resources.caller.id,
        )
        row = deployments.create(session, new)
        _record(session, resources, "deployment.created", row)
        found = deployment_view(row)
    log.info("deployment accepted", deployment=found.id, model=found.model, engine=found.target)
    return found


def page(resources: Resources, model: str | None, cursor: str | None, limit: int) -> DeploymentPage:
    """Those of models that the caller may see, newest first."""
    before = read_cursor("deployments", cursor)
    with resources.database.reading() as session:
        if model is not None:
            models.get(session, model)
        rows = deployments.page(session, model, before, limit, resources.caller.models)
        more = write_cursor("deployments", rows[limit - 1].seq) if len(rows) > limit else None
        return DeploymentPage(data=[deployment_view(row) for row in rows[:limit]], next_cursor=more)


def get(resources: Resources, deployment_id: str) -> Deployment:
    with resources.database.reading() as session:
        return deployment_view(_owned(resources, session, deployment_id))


def events(resources: Resources, deployment_id: str, cursor: str | None, limit: int) -> DeploymentEventPage:
    """Newest first."""
    before = read_cursor("deployment_events", cursor)
    with resources.database.reading() as session:
        row = _owned(resources, session, deployment_id)
        rows = deployments.events(session, row.id, before, limit)
        more = write_cursor("deployment_events", rows[limit - 1].id) if len(rows) > limit else None
        return DeploymentEventPage(data=[event_view(one) for one in rows[:limit]], next_cursor=more)


def forget(resources: Resources, deployment_id: str) -> DeploymentRow:
    """The row as it was; nobody works on it any more."""
    with resources.database.writing() as session:
        row = _owned(resources, session, deployment_id)
        _record(session, resources, "deployment.removed", row)
        deployments.remove(session, row)
    log.info("deployment removed", deployment=row.id, engine=row.target)
    return row


async def unload(row: DeploymentRow) -> RemovedDeployment:
    """Have the engine serve its adapter no more; one that does not answer goes on as it is."""
    unloaded = False
    if is_adapter(row.path):
        try:
            async with engines_client() as http:
                engine = Engine(http, row.target.removeprefix(PREFIX), row.key)
                await engine.unload(row.name)
            unloaded = True
        except (EngineError, httpx.HTTPError) as error:
            log.warning("a removed deployment stays loaded", deployment=row.id, error=str(error))
    return RemovedDeployment(id=row.id, unloaded=unloaded)


def allowed_target(settings: Settings, target: str) -> str:
    """`vllm+http://host:port` with its port, if the operator allows it. Raises InvalidFieldsError."""
    try:
        origin = origin_of(target.removeprefix(PREFIX))
    except ValueError:
        raise invalid("target", f"{shown(target)} has no port that could be; write vllm+http://host:port") from None
    if origin not in settings.allowed_targets:
        allowed = ", ".join(f"{PREFIX}{one}" for one in sorted(settings.allowed_targets)) or "none"
        raise invalid(
            "target",
            f"{shown(target)} is not an engine that versions may be deployed to: {allowed}. Whoever runs the server "
            f"allows it with EMMETD_DEPLOYMENT_TARGETS={origin}",
        )
    return f"{PREFIX}{origin}"


def _owned(resources: Resources, session: Session, deployment_id: str) -> DeploymentRow:
    row = deployments.get(session, deployment_id)
    resources.caller.check_owner(row.model, f"deployment {row.id}")
    return row


def _record(session: Session, resources: Resources, action: str, row: DeploymentRow) -> None:
    audit.record(
        session,
        resources.caller.actor,
        action,
        model=row.model,
        target=row.id,
        follows=followed(row),
        engine=row.target,
        name=row.name,
    )
