"""Descriptions and tags: what people write beside a model or a version, which itself stays as it is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.models import ModelCard, VersionDetail
from api_schemas.notes import NotesUpdate
from api_schemas.references import ModelReference, ReferenceText
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.problems import responses
from service.models import service
from service.models.parameters import Name, Version
from service.models.references import model_named, reference_in, version_reference
from service.resources import Resources, ResourcesDependency
from store.errors import ModelNotFoundError, NotesChangedError, VersionNotFoundError
from store.lineage import notes
from store.lineage import versions as lineage

router = APIRouter(prefix="/v1/models", tags=["models"])

_REFUSALS = responses(
    MalformedJSONError,
    ModelNotFoundError,
    VersionNotFoundError,
    NotesChangedError,
    TooLargeError,
    UnsupportedMediaTypeError,
    InvalidFieldsError,
)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/NotesUpdate"},
                "example": {"description": "Corrections of November", "tags": ["legal"]},
            }
        },
    }
}
_Etag = Annotated[
    str | None,
    Header(
        max_length=100,
        description="The `ETag` that came with them: 409 where description or tags were changed since.",
        examples=['"0123456789abcdef"'],
    ),
]


@router.patch("/{model}", summary="Change a model's description and tags", openapi_extra=_BODY, responses=_REFUSALS)
async def patch_model(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    model: Annotated[ReferenceText, Path(description="NAME, NAME@v3 or NAME@alias", examples=["smollm2-135m"])],
    if_match: _Etag = None,
) -> ModelCard:
    """Of the model where NAME is named, of the version where one is, or an alias. What is left out stays as it is."""
    update = await _update(request)
    await run_in_threadpool(_write, resources, reference_in(model, "path.model"), "@" in model, update, if_match)
    found = await run_in_threadpool(service.card, resources, model)
    response.headers["ETag"] = service.etag_of(found)
    return found


@router.patch(
    "/{model}/versions/{version}",
    summary="Change a version's description and tags",
    openapi_extra=_BODY,
    responses=_REFUSALS,
)
async def patch_version(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    model: Name,
    version: Version,
    if_match: _Etag = None,
) -> VersionDetail:
    """They stand beside the version, whose weights and measurements never change. What is left out stays as it is."""
    update = await _update(request)
    await run_in_threadpool(_write, resources, version_reference(model, version), True, update, if_match)
    found = await run_in_threadpool(service.version, resources, model, version)
    response.headers["ETag"] = service.etag_of(found)
    return found


async def _update(request: Request) -> NotesUpdate:
    media_type(request, JSON_TYPE)
    return await run_in_threadpool(read_model, await request.body(), NotesUpdate)


def _write(
    resources: Resources, reference: ModelReference, of_version: bool, update: NotesUpdate, if_match: str | None
) -> None:
    with resources.database.writing() as session:
        model = model_named(session, reference.name)
        row = lineage.resolve(session, reference) if of_version else model
        notes.change(session, resources.caller.actor, row, update.model_dump(exclude_unset=True), _read(if_match))


def _read(if_match: str | None) -> str | None:
    """None where any will do."""
    return None if if_match in (None, "*") else (if_match or "").strip().removeprefix("W/").strip('"')
