"""`/v1/models`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.metrics import BatchMetrics
from api_schemas.models import (
    AliasInfo,
    AliasList,
    AliasUpdate,
    LineagePage,
    ModelCard,
    ModelList,
    VersionDetail,
    VersionFactPage,
    VersionPage,
)
from api_schemas.references import ReferenceText
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.models import service
from service.models.parameters import Name, Search, TagFilter, Version
from service.resources import ResourcesDependency
from store.errors import (
    AliasApprovalError,
    AliasGuardedError,
    AliasLimitError,
    AliasMovedError,
    AliasProtectedError,
    AliasRequestLimitError,
    AliasReservedError,
    CursorError,
    ModelNotFoundError,
    VersionNeededError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1/models", tags=["models"])

Alias = Annotated[str, Path(max_length=64, examples=["production"])]

_NOT_FOUND = responses(ModelNotFoundError, VersionNotFoundError)


@router.get("", summary="List models, their versions and aliases", responses=responses(InvalidFieldsError))
def list_models(resources: ResourcesDependency, tag: TagFilter = None, q: Search = None) -> ModelList:
    """In OpenAI's shape: every `id` can stand as `model` in a request.

    With `tag` or `q` those alone whose own description, tags or id match; an alias has those of its version.
    """
    return service.all_cards(resources, tag, q)


@router.get(
    "/{model}",
    summary="Show a model, a version or an alias",
    responses=responses(ModelNotFoundError, VersionNotFoundError, InvalidFieldsError),
)
def get_model(
    response: Response,
    resources: ResourcesDependency,
    model: Annotated[ReferenceText, Path(description="NAME, NAME@v3 or NAME@alias", examples=["smollm2-135m@v1"])],
) -> ModelCard:
    """`ETag` is of its description and tags."""
    found = service.card(resources, model)
    response.headers["ETag"] = service.etag_of(found)
    return found


@router.get(
    "/{model}/versions",
    summary="List a model's versions, newest first",
    responses=responses(ModelNotFoundError, CursorError, InvalidFieldsError),
)
def list_versions(
    resources: ResourcesDependency,
    model: Name,
    tag: TagFilter = None,
    q: Search = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> VersionPage:
    """With `tag` or `q` those alone that match, in label, description or tags."""
    return service.versions(resources, model, cursor, limit, tag, q)


@router.get("/{model}/versions/{version}", summary="Show a version", responses=_NOT_FOUND)
def get_version(response: Response, resources: ResourcesDependency, model: Name, version: Version) -> VersionDetail:
    """`ETag` is of its description and tags, which alone can be changed."""
    found = service.version(resources, model, version)
    response.headers["ETag"] = service.etag_of(found)
    return found


@router.delete(
    "/{model}/versions/{version}",
    status_code=204,
    summary="Delete a version that nothing needs",
    responses=responses(ModelNotFoundError, VersionNotFoundError, VersionNeededError),
)
def delete_version(resources: ResourcesDependency, model: Name, version: Version) -> None:
    """Refused while an alias points at it, or another version or running work is made on it.

    Its number is never given again, and its edit stays to be read.
    """
    service.delete_version(resources, model, version)


@router.get(
    "/{model}/versions/{version}/facts",
    summary="List the facts that a version says",
    responses=responses(ModelNotFoundError, VersionNotFoundError, CursorError, InvalidFieldsError),
)
def list_version_facts(
    resources: ResourcesDependency,
    model: Name,
    version: Version,
    state: Annotated[
        Literal["in_force", "all"], Query(description="`all`: those too that were corrected or taken out later.")
    ] = "in_force",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> VersionFactPage:
    """Those of all edits of its lineage, each with the edit and version that it came with.

    A fact that a later one with the same prompt and subject corrected is `superseded`, one that a revert took out is
    `reverted`; taking a correction out puts the earlier fact in force again.
    """
    return service.version_facts(resources, model, version, state, cursor, limit)


@router.get(
    "/{model}/lineage",
    summary="The versions that lead to one, as a series",
    responses=responses(ModelNotFoundError, VersionNotFoundError, CursorError, InvalidFieldsError),
)
def get_lineage(
    resources: ResourcesDependency,
    model: Name,
    of: Annotated[str, Query(max_length=70, description="A version or an alias.", examples=["latest"])] = "latest",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> LineagePage:
    """Oldest first: what was measured when each was published, to be plotted. The base itself is not in it.

    `wear` says whether the line holds; a worn one is consolidated before its facts are lost.
    """
    return service.line(resources, model, of, cursor, limit)


@router.get("/{model}/versions/{version}/metrics", summary="Show a version's measurements", responses=_NOT_FOUND)
def get_version_metrics(resources: ResourcesDependency, model: Name, version: Version) -> BatchMetrics:
    """What was measured before the version was published; empty for the base."""
    return service.version_metrics(resources, model, version)


@router.get("/{model}/aliases", summary="List a model's aliases", responses=responses(ModelNotFoundError))
def list_aliases(resources: ResourcesDependency, model: Name) -> AliasList:
    return service.list_aliases(resources, model)


@router.put(
    "/{model}/aliases/{alias}",
    summary="Point an alias at a version; moving `latest` back is a rollback",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON_TYPE: {
                    "schema": {"$ref": "#/components/schemas/AliasUpdate"},
                    "example": {"version": "v0", "expected": "v1"},
                }
            },
        }
    },
    responses=responses(
        MalformedJSONError,
        ModelNotFoundError,
        VersionNotFoundError,
        AliasMovedError,
        AliasReservedError,
        AliasLimitError,
        AliasProtectedError,
        AliasRequestLimitError,
        AliasGuardedError,
        TooLargeError,
        UnsupportedMediaTypeError,
        InvalidFieldsError,
    )
    | {
        202: {
            "model": AliasInfo,
            "description": "Asked for; the alias stands as it did until another key approves `request`.",
            "headers": {"Location": {"description": "The request.", "schema": {"type": "string"}}},
        }
    },
)
async def put_alias(
    request: Request, response: Response, resources: ResourcesDependency, model: Name, alias: Alias
) -> AliasInfo:
    """Compare and set: with `expected`, the alias moves only while it points there, else the answer is 409.

    `protected` guards an alias: from then on only an administrator moves it, by this or by edits on it. As long as
    there are no scopes, that is whoever has the server's API key; a server without one protects nothing.

    `approval` guards it further: each change, also of its protection, becomes a request that another key approves. The
    answer is then 202 with the alias as it stands and its `request`; batches on it are published, and ask likewise.

    A `guard` names what must have been measured of a version before the alias is moved to it: bounds on what its check
    measured, and on downstream results that are kept with it. A move that does not meet it is refused with 409
    `alias_guarded`, which says what is missing. Edits on a guarded alias are refused: they would move it unmeasured.
    """
    media_type(request, JSON_TYPE)
    update = await run_in_threadpool(read_model, await request.body(), AliasUpdate)
    told = await run_in_threadpool(service.put_alias, resources, model, alias, update)
    if told.request is not None:
        response.status_code = 202
        response.headers["Location"] = f"/v1/models/{model}/alias-requests/{told.request.id}"
    return told


@router.delete(
    "/{model}/aliases/{alias}",
    status_code=204,
    summary="Delete an alias",
    responses=responses(
        ModelNotFoundError, VersionNotFoundError, AliasReservedError, AliasProtectedError, AliasApprovalError
    ),
)
def delete_alias(resources: ResourcesDependency, model: Name, alias: Alias) -> None:
    """The versions stay. `latest` cannot be deleted, nor can what demands approval."""
    service.delete_alias(resources, model, alias)
