"""Errors as HTTP answers: RFC 9457 problem details on our own resources, OpenAI's envelope on its paths.

Each error class writes its own entry of the OpenAPI document: `responses(UnauthorizedError, ModelNotFoundError)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api_schemas.problems import Problem
from service import errors
from service.errors import ServiceError
from service.http.fields import request_problems
from store import errors as store
from store.upkeep.availability import OF_A_DISK, database_trouble, disk_trouble

PROBLEM_TYPE: Final = "application/problem+json"
OPENAI_PATHS: Final = ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/tokenizer_info")
"""Paths whose errors OpenAI's own clients read, and those of vLLM's beside them."""

STORE_ANSWERS: Final[Mapping[type[store.StoreError], tuple[int, str]]] = {
    store.ModelNotFoundError: (404, "No such model"),
    store.VersionNotFoundError: (404, "No such version or alias"),
    store.BatchNotFoundError: (404, "No such edit"),
    store.EvaluationNotFoundError: (404, "No such evaluation"),
    store.ExportNotFoundError: (404, "No such export"),
    store.StatisticNotFoundError: (404, "No such statistic"),
    store.KeyNotFoundError: (404, "No such API key"),
    store.DeploymentNotFoundError: (404, "No such deployment"),
    store.WebhookNotFoundError: (404, "No such webhook"),
    store.AliasRequestNotFoundError: (404, "No such request"),
    store.NotFoundError: (404, "Not found"),
    store.AliasMovedError: (409, "The alias has moved"),
    store.AliasReservedError: (409, "That alias is reserved"),
    store.AliasLimitError: (409, "The model has too many aliases"),
    store.AliasProtectedError: (403, "The alias is protected"),
    store.AliasApprovalError: (409, "The change needs approval"),
    store.SameKeyError: (403, "Another key must approve"),
    store.AliasRequestClosedError: (409, "The request is closed"),
    store.AliasRequestLimitError: (409, "Too many requests wait for the alias"),
    store.WebhookLimitError: (409, "There are too many webhooks"),
    store.NotesChangedError: (409, "Description or tags were changed"),
    store.DeploymentExistsError: (409, "The engine is served that name already"),
    store.DeploymentLimitError: (409, "There are too many deployments"),
    store.AliasGuardedError: (409, "The alias is guarded"),
    store.VersionNeededError: (409, "The version is needed"),
    store.VersionUnavailableError: (409, "The version is unavailable"),
    store.FactsRemovedError: (409, "The texts were removed"),
    store.NothingToConsolidateError: (409, "There is nothing to consolidate"),
    store.TooManyFactsError: (409, "The version has too many facts"),
    store.ConsolidationRunsError: (409, "The version is being consolidated"),
    store.VersionUnavailableError: (409, "The version is unavailable"),
    store.NotInLineageError: (409, "That is not in the version"),
    store.ParentMovedError: (409, "The parent has moved"),
    store.IdempotencyConflictError: (422, "The Idempotency-Key was used with another request"),
    store.RegistrationConflictError: (409, "The model is registered otherwise"),
    store.ConflictError: (409, "The version has moved"),
    store.QueueFullError: (429, "Too much waits already"),
    store.CursorError: (400, "The cursor cannot be read"),
    store.BlobStoreAwayError: (503, "The blob store does not answer"),
    store.BlobMissingError: (503, "A blob of the version is missing"),
    store.BlobCorruptError: (503, "A blob of the version is damaged"),
    store.StoreError: (500, "The store refused"),
}
_RETRY_SECONDS: Final = "30"
_OPENAI_TYPES: Final = {429: "rate_limit_error", 503: "service_unavailable", 500: "server_error"}

log = structlog.get_logger(__name__)


def render(path: str, error: ServiceError | store.StoreError) -> Response:
    """The answer to a request for `path` that ended with `error`."""
    if path.rstrip("/") in OPENAI_PATHS:
        status, envelope, headers = openai_error(error)
        return Response(envelope, status, headers, "application/json")
    problem, headers = as_problem(error)
    problem.instance = path
    content = orjson.dumps(problem.model_dump(mode="json", exclude_none=True))
    return Response(content, problem.status, headers, PROBLEM_TYPE)


def as_problem(error: ServiceError | store.StoreError) -> tuple[Problem, dict[str, str]]:
    """Problem details and headers."""
    if isinstance(error, errors.InvalidFieldsError):
        problem = Problem(
            title=error.title, status=error.status, detail=error.detail, code=error.code, errors=error.errors
        )
        problem.error_count = error.total  # type: ignore[attr-defined]  # an extension member of the problem
        return problem, error.headers
    if isinstance(error, ServiceError):
        return Problem(title=error.title, status=error.status, detail=error.detail, code=error.code), error.headers
    status, title = _store_answer(type(error))
    headers = {"Retry-After": _RETRY_SECONDS} if status in (429, 503) else {}
    return Problem(title=title, status=status, detail=str(error), code=error.code), headers


def _store_answer(kind: type[store.StoreError]) -> tuple[int, str]:
    return next(STORE_ANSWERS[base] for base in kind.__mro__ if base in STORE_ANSWERS)


def openai_error(error: ServiceError | store.StoreError) -> tuple[int, bytes, dict[str, str]]:
    """Status, OpenAI's envelope and headers. A wrong field is a 400 there, and `param` names it."""
    problem, headers = as_problem(error)
    status = 400 if problem.status == 422 else problem.status
    envelope = {
        "message": problem.detail,
        "type": _OPENAI_TYPES.get(status, "invalid_request_error"),
        "param": problem.errors[0].loc if problem.errors else ("model" if status == 404 else None),
        "code": problem.code,
    }
    return status, orjson.dumps({"error": envelope}), headers


def install(app: FastAPI) -> None:
    """Let every error of `app` be answered by `render`."""

    @app.exception_handler(ServiceError)
    async def _service_error(request: Request, error: ServiceError) -> Response:
        return render(request.url.path, error)

    @app.exception_handler(store.StoreError)
    async def _store_error(request: Request, error: store.StoreError) -> Response:
        if _store_answer(type(error))[0] >= 500:
            log.error("the store refused", code=error.code, error=str(error))
        return render(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def _wrong_parameters(request: Request, error: RequestValidationError) -> Response:
        return render(request.url.path, errors.InvalidFieldsError(request_problems(error.errors())))

    @app.exception_handler(HTTPException)
    async def _http_exception(request: Request, error: HTTPException) -> Response:
        return render(request.url.path, _from_starlette(request, error))

    @app.exception_handler(DBAPIError)
    @app.exception_handler(PoolTimeoutError)
    async def _database_away(request: Request, error: DBAPIError | PoolTimeoutError) -> Response:
        reason = database_trouble(error)
        log.error(reason, error=str(getattr(error, "orig", error)))
        return render(request.url.path, errors.StorageError(f"{reason}; nothing was kept, try again shortly"))

    @app.exception_handler(OSError)
    async def _disk_fails(request: Request, error: OSError) -> Response:
        if error.errno not in OF_A_DISK:
            raise error
        reason = disk_trouble(error)
        log.error(reason, error=str(error))
        return render(request.url.path, errors.StorageError(f"{reason}; try again later"))

    @app.exception_handler(RedisError)
    async def _redis_away(request: Request, error: RedisError) -> Response:
        log.error("redis does not answer", error=str(error))
        return render(request.url.path, errors.UnavailableError("Redis does not answer; try again shortly"))


def _from_starlette(request: Request, error: HTTPException) -> ServiceError:
    path, method = request.url.path, request.method
    if error.status_code == 404:
        return errors.PageNotFoundError(f"there is nothing at {path[:200]}; GET /openapi.json lists all paths")
    if error.status_code == 405:
        # A route knows its own methods alone; the document knows those of all routes at the path.
        route = getattr(request.scope.get("route"), "path_format", path)
        operations = request.app.openapi()["paths"].get(route, {})
        allowed = ", ".join(sorted(operation.upper() for operation in operations)) or "GET"
        detail = f"{method} does nothing at {path}; allowed: {allowed}"
        return errors.MethodNotAllowedError(detail, {"Allow": allowed})
    return errors.MalformedRequestError(str(error.detail))


def responses(*kinds: type[ServiceError] | type[store.StoreError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors that a route answers with, by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title = (kind.status, kind.title) if issubclass(kind, ServiceError) else _store_answer(kind)
        entry = found.setdefault(
            status,
            {
                "description": "",
                **_headers(status),
                "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        entry["description"] += f"{'; ' if entry['description'] else ''}{title} (`{kind.code}`)"
        entry["content"][PROBLEM_TYPE]["examples"][kind.code] = {
            "summary": title,
            "value": _example(kind, status, title),
        }
    return found


def _example(kind: type[ServiceError] | type[store.StoreError], status: int, title: str) -> dict[str, Any]:
    example = {"type": "about:blank", "title": title, "status": status, "code": kind.code}
    if not issubclass(kind, ServiceError):
        return example
    example["detail"] = kind.example
    if kind is errors.InvalidFieldsError:
        loc, _, message = kind.example.partition(": ")
        example["errors"] = [{"loc": loc, "msg": message}]
    return example


def openai_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the paths that answer errors in OpenAI's envelope."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, **_headers(status), "content": content}
        for status in statuses
    }


def _headers(status: int) -> dict[str, Any]:
    """The header that every answer with this status has."""
    if status == 401:
        return {"headers": {"WWW-Authenticate": _header("How to authenticate (RFC 6750).")}}
    if status in (429, 503):
        return {"headers": {"Retry-After": _header("Seconds after which to ask again.", {"type": "integer"})}}
    return {}


def _header(description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": schema or {"type": "string"}}
