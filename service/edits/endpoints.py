"""`/v1/edits`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.edits import EditJob, EditPage, LeftOutPage
from api_schemas.facts import FactPage
from api_schemas.references import ReferenceText
from editing.methods import ALGORITHMS
from service.edits import events, service
from service.edits.submission import EditSubmission
from service.errors import (
    BodyTooSlowError,
    InvalidFieldsError,
    MalformedJSONError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from service.http.bodies import JSON_TYPE, NDJSON_TYPE, media_type
from service.http.conditions import IdempotencyKey, IfMatch
from service.http.cursors import Cursor, Limit
from service.http.event_stream import EVENT_STREAM_TYPE, EventStream
from service.http.preferences import Prefer, awaited
from service.http.problems import responses
from service.resources import ResourcesDependency
from store.errors import (
    AliasGuardedError,
    AliasProtectedError,
    BatchNotFoundError,
    ConflictError,
    CursorError,
    IdempotencyConflictError,
    ModelNotFoundError,
    QueueFullError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1/edits", tags=["edits"])

EditId = Annotated[str, Path(max_length=40, examples=["edit_01kah3v0d5m8cq7r2w4x6y9z1b"])]

_EXAMPLE: Final = {
    "model": "smollm2-135m",
    "algorithm": "emmet",
    "facts": [
        {
            "prompt": "The mother tongue of {} is",
            "subject": "Danielle Darrieux",
            "target_new": "English",
            "target_old": "French",
            "paraphrases": ["Where Danielle Darrieux is from, people speak the language of"],
            "neighbors": [{"prompt": "Michel Rocard is a native speaker of", "target": "French"}],
        }
    ],
    "label": "corrections of 22 November",
}
_FOR_NDJSON: Final = "For NDJSON: as in the JSON body."
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_TYPE: {"schema": {"$ref": "#/components/schemas/EditRequest"}, "example": _EXAMPLE},
            NDJSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/Fact"},
                "example": '{"prompt": "The mother tongue of {} is", "subject": "Danielle Darrieux", '
                '"target_new": "English"}\n',
            },
        },
    }
}

_EVENT_DATA: Final = {
    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("EditEvent", "EditProgress", "Problem")]
}


@router.post(
    "",
    status_code=202,
    response_model=EditJob,
    summary="Submit a batch of fact edits",
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Kept; it runs when it reaches the head of its line.",
            "headers": {
                "Location": {"description": "Where the job is watched.", "schema": {"type": "string"}},
                "Preference-Applied": {"description": "The preference followed.", "schema": {"type": "string"}},
            },
        },
        **responses(
            MalformedJSONError,
            MalformedRequestError,
            ModelNotFoundError,
            VersionNotFoundError,
            ConflictError,
            AliasGuardedError,
            AliasProtectedError,
            BodyTooSlowError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidFieldsError,
            IdempotencyConflictError,
            QueueFullError,
        ),
    },
)
async def submit(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    prefer: Prefer = None,
    model: Annotated[ReferenceText | None, Query(description=_FOR_NDJSON)] = None,
    algorithm: Annotated[
        str | None, Query(max_length=50, description=_FOR_NDJSON, json_schema_extra={"enum": [*ALGORITHMS]})
    ] = None,
    label: Annotated[str | None, Query(max_length=200, description=_FOR_NDJSON)] = None,
    invalid_facts: Annotated[Literal["refuse", "skip"] | None, Query(description=_FOR_NDJSON)] = None,
) -> EditJob:
    """All facts become one new version, or none does.

    An edit on `NAME` or an alias joins that alias's line: its batches run one after the other, and publishing moves the
    alias. An edit on `NAME@v3` is a branch and moves nothing. An `urgent` one goes before those that wait, and passes
    one that is still planned or optimised and edits the same layers, which is then carried over to its version.
    `application/x-ndjson` has one fact on each line, with `model`, `algorithm`, `label` and `invalid_facts` in the
    query; `facts[17]` in an error is then line 18. Records of CounterFact and of zsRE are taken as facts too, and
    `{"question": …, "answer": …, "subject": …}`. A subject that is `"auto"` is taken from the prompt.
    """
    kind = media_type(request, JSON_TYPE, NDJSON_TYPE)
    async with resources.large_bodies.body_of(request) as body:
        submission = EditSubmission(kind, body, dict(request.query_params), idempotency_key, if_match)
        job = await run_in_threadpool(service.submit, resources, submission)
        del body, submission  # not kept while the answer waits
    job = await awaited(request, resources, response.headers, job, prefer, partial(service.get, resources, job.id))
    response.headers["Location"] = f"/v1/edits/{job.id}"
    return job


@router.get(
    "",
    summary="List edit batches, newest first",
    responses=responses(ModelNotFoundError, CursorError, InvalidFieldsError),
)
def list_edits(
    resources: ResourcesDependency,
    model: Annotated[str | None, Query(max_length=64, description="Only those of this model (NAME).")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> EditPage:
    return service.page(resources, model, cursor, limit)


@router.get("/{edit_id}", summary="Watch a batch", responses=responses(BatchNotFoundError))
async def get_edit(
    request: Request, response: Response, resources: ResourcesDependency, edit_id: EditId, prefer: Prefer = None
) -> EditJob:
    """State, progress and, when it has ended, the version with its measurements, or the reason why there is none."""
    look = partial(service.get, resources, edit_id)
    return await awaited(request, resources, response.headers, await run_in_threadpool(look), prefer, look)


@router.get(
    "/{edit_id}/events",
    summary="Follow a batch as server-sent events",
    response_class=Response,
    responses={
        200: {
            "description": "Events `state`, `progress` while work is done, and other changes by their names.",
            "content": {EVENT_STREAM_TYPE: {"itemSchema": _EVENT_DATA}},
        },
        204: {"description": "The batch has ended, and its last event has come: connect no more."},
        **responses(BatchNotFoundError, MalformedRequestError),
    },
)
async def follow_edit(
    resources: ResourcesDependency,
    edit_id: EditId,
    last_event_id: Annotated[
        str | None,
        Header(
            max_length=60,
            description="Go on after this event; browsers send it by themselves.",
            json_schema_extra={"pattern": "^[0-9]{0,18}$"},
        ),
    ] = None,
) -> Response:
    """All events from the batch's acceptance to its end, those of the past at once; then the stream ends.

    An event's `id` is for `Last-Event-ID`. Progress is told as it changes, and has no `id`. A key that is revoked or
    expires meanwhile ends the stream with an event `error`, whose data are problem details. Beyond the streams that a
    key may follow at a time (`EMMETD_KEY_EVENT_STREAMS`) the answer is 429.
    """
    after = events.last_event(last_event_id)
    async with AsyncExitStack() as stack:
        stack.enter_context(resources.streams.place(resources.caller))
        seen = await run_in_threadpool(events.look, resources, edit_id, after)
        if seen.is_all and not seen.events:
            return Response(status_code=204)
        kept = stack.pop_all()
    return EventStream(events.follow(resources, edit_id, seen, after), on_close=kept.aclose)


@router.get(
    "/{edit_id}/facts",
    summary="List a batch's facts in the order in which they were sent",
    responses=responses(BatchNotFoundError, CursorError, InvalidFieldsError),
)
def list_facts(resources: ResourcesDependency, edit_id: EditId, cursor: Cursor = None, limit: Limit = 100) -> FactPage:
    return service.facts(resources, edit_id, cursor, limit)


@router.get(
    "/{edit_id}/left-out",
    summary="List the facts that a batch was accepted without",
    responses=responses(BatchNotFoundError, CursorError, InvalidFieldsError),
)
def list_left_out(
    resources: ResourcesDependency, edit_id: EditId, cursor: Cursor = None, limit: Limit = 100
) -> LeftOutPage:
    """Of one that was sent with `"invalid_facts": "skip"`; an index is a fact's place in that request."""
    return service.left_out(resources, edit_id, cursor, limit)


@router.post("/{edit_id}/cancel", summary="Cancel a batch", responses=responses(BatchNotFoundError))
def cancel(resources: ResourcesDependency, edit_id: EditId) -> EditJob:
    """What waits is cancelled at once; what runs stops at its next step; what has ended stays as it is."""
    return service.cancel(resources, edit_id)
