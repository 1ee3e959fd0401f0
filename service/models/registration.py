"""Registering a model: a hub id at one commit, or a folder that the operator allows. No weights are fetched for it."""

from __future__ import annotations

import re
from typing import Final

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.models import ModelCard, ModelRequest
from api_schemas.references import NAME_PATTERN, name_from
from editing.errors import HubAwayError, ModelLoadError, UnknownRevisionError, UnsupportedModelError
from editing.sources.inspection import InspectedModel, inspect_model, same_source
from service.errors import (
    InvalidFieldsError,
    MalformedJSONError,
    ModelHubAwayError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.fields import invalid, shown
from service.http.problems import responses
from service.models import service
from service.resources import Resources, ResourcesDependency
from store.errors import RegistrationConflictError
from store.lineage import models
from store.schema.tables import ModelRow

router = APIRouter(prefix="/v1/models", tags=["models"])

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/ModelRequest"},
                "example": {"source": "openai-community/gpt2-xl", "revision": "main", "name": "gpt2-xl"},
            }
        },
    }
}
_LOCATION: Final = {"Location": {"description": "The model.", "schema": {"type": "string"}}}

log = structlog.get_logger(__name__)


@router.post(
    "",
    status_code=201,
    summary="Register a model",
    openapi_extra=_BODY,
    responses={
        200: {"model": ModelCard, "description": "It is registered so already.", "headers": _LOCATION},
        201: {"description": "Registered. A worker that is started for its NAME loads it.", "headers": _LOCATION},
        **responses(
            MalformedJSONError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidFieldsError,
            RegistrationConflictError,
            ModelHubAwayError,
        ),
    },
)
async def register_model(request: Request, response: Response, resources: ResourcesDependency) -> ModelCard:
    """Its files are listed and its configuration is read; what is missing is said before any weights are fetched.

    The revision is kept as the commit that it is now. Every worker of the NAME loads that one, and one that was told
    another refuses to start. Registering the same again changes nothing; another source or revision under a NAME that
    is there is refused with 409.
    """
    media_type(request, JSON_TYPE)
    wanted = await run_in_threadpool(read_model, await request.body(), ModelRequest)
    name = _name(wanted)
    resources.caller.check_model(name)
    made = False
    if not await run_in_threadpool(_is_there, resources, name, wanted):
        found = await to_thread.run_sync(_inspect, resources, wanted, limiter=resources.inspections)
        made = await run_in_threadpool(_keep, resources, name, found)
    response.status_code = 201 if made else 200
    response.headers["Location"] = f"/v1/models/{name}"
    return await run_in_threadpool(service.card, resources, name)


def _name(wanted: ModelRequest) -> str:
    if wanted.name is not None:
        return wanted.name
    name = name_from(wanted.source)
    if not re.match(NAME_PATTERN, name):
        raise invalid("name", f"is missing, and {shown(wanted.source)} gives no usable one; choose one")
    return name


def _is_there(resources: Resources, name: str, wanted: ModelRequest) -> bool:
    """Whether NAME is registered so that nothing need be asked of the hub. Raises RegistrationConflictError."""
    with resources.database.reading() as session:
        row = models.find(session, name)
    if row is None:
        return False
    _check_source(row, wanted.source)
    return wanted.revision in (None, row.revision)


def _inspect(resources: Resources, wanted: ModelRequest) -> InspectedModel:
    settings = resources.settings
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    try:
        return inspect_model(
            wanted.source, revision=wanted.revision, token=token, folders=settings.allowed_model_folders
        )
    except HubAwayError as error:
        raise ModelHubAwayError(f"{error}; nothing was registered") from error
    except UnknownRevisionError as error:
        raise invalid("revision", str(error)) from error
    except (ModelLoadError, UnsupportedModelError) as error:
        raise invalid("source", str(error)) from error


def _keep(resources: Resources, name: str, found: InspectedModel) -> bool:
    """Whether it was not there yet. Raises RegistrationConflictError where it is, and otherwise."""
    with resources.database.writing() as session:
        row = models.find(session, name)
        if row is not None:
            _check_source(row, found.reference)
            if row.revision != found.revision:
                at = f"at revision {row.revision}" if row.revision else "without a revision"
                raise RegistrationConflictError(
                    f"model {name!r} is registered {at}, not at {found.revision}; "
                    "register the other revision under another name"
                )
            return False
        models.register(session, name, found.reference, resources.caller.actor, revision=found.revision)
    log.info("model registered", model=name, source=found.reference, revision=found.revision)
    return True


def _check_source(row: ModelRow, source: str) -> None:
    if not same_source(row.source, source):
        raise RegistrationConflictError(
            f"model {row.name!r} is registered as {row.source!r}, not as {source!r}; register the other model under "
            "another name"
        )
