"""The OpenAPI document: what FastAPI gathers, and the bodies that we read ourselves for the sake of better errors.

`python -m service > docs/openapi.json` writes it anew.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api_schemas.access import KeyRequest
from api_schemas.aliases import AliasDecision
from api_schemas.consolidations import ConsolidationRequest
from api_schemas.deployments import DeploymentRequest
from api_schemas.downstream import DownstreamSubmission
from api_schemas.edits import EditEvent, EditProgress, EditRequest
from api_schemas.evaluations import EvaluationRequest
from api_schemas.exports import ExportJob
from api_schemas.facts import Fact
from api_schemas.models import AliasUpdate, ModelRequest
from api_schemas.notes import NotesUpdate
from api_schemas.openai.chat import ChatCompletionChunk, ChatRequest
from api_schemas.openai.completions import CompletionChunk, CompletionRequest, OpenAIError
from api_schemas.problems import Problem
from api_schemas.reverts import RevertRequest
from api_schemas.statistics import StatisticRequest
from api_schemas.texts import NO_NUL
from api_schemas.tokenization import DetokenizeRequest, TokenizeRequest
from api_schemas.webhooks import WebhookRequest, WebhookUpdate
from editing.methods import ALGORITHMS
from service.access.rules import RULES, Rule
from service.errors import (
    ForbiddenError,
    InvalidFieldsError,
    LimitReachedError,
    ModelNotGrantedError,
    ScopeMissingError,
    UnauthorizedError,
)
from service.generation.documentation import LAST_DATA
from service.http.event_stream import EVENT_STREAM_TYPE
from service.http.links import add_links
from service.http.metric_names import describe_metrics
from service.http.problems import OPENAI_PATHS, openai_responses, responses

DESCRIPTION: Final = """\
Send batches of fact edits; each becomes an immutable version of the model that can be queried, measured and gone back
from. Wherever a model is named, `NAME` means its alias `latest`, `NAME@v3` a version and `NAME@alias` an alias; `v0` is
the untouched base.

Errors of our own resources are problem details (RFC 9457) with a stable `code`; those of OpenAI's and vLLM's paths come
in OpenAI's envelope.
"""
TAGS: Final = [
    {"name": "edits", "description": "Batches of fact edits, from request to version."},
    {"name": "models", "description": "Models, their versions and aliases."},
    {"name": "evaluations", "description": "Measuring any version on given facts."},
    {"name": "completions", "description": "Generating text with any version, as OpenAI's API does it."},
    {"name": "statistics", "description": "C0 of a model's layers, made ahead of time, and what it is made from."},
    {"name": "deployments", "description": "Engines elsewhere that serve versions and follow aliases."},
    {"name": "algorithms", "description": "Editing methods and their settings."},
    {"name": "webhooks", "description": "Who is told of what happens, and what became of each delivery."},
    {"name": "operations", "description": "Health and metrics."},
]
_READ_BY_HAND: Final = (
    EditRequest,
    EditEvent,
    EditProgress,
    Fact,
    EvaluationRequest,
    AliasDecision,
    AliasUpdate,
    ModelRequest,
    NotesUpdate,
    RevertRequest,
    ConsolidationRequest,
    DownstreamSubmission,
    ExportJob,
    StatisticRequest,
    KeyRequest,
    DeploymentRequest,
    CompletionRequest,
    CompletionChunk,
    ChatRequest,
    ChatCompletionChunk,
    TokenizeRequest,
    DetokenizeRequest,
    OpenAIError,
    WebhookRequest,
    WebhookUpdate,
    Problem,
)
_REFERENCE: Final = "#/components/schemas/{model}"
_SCHEME: Final = "API key"
_SCHEMES: Final = {
    _SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A key that `emmetd keys create` made, or that of the configuration. Each operation names the "
        "scopes of which a key needs one; `admin` stands for all. `emmetd serve` on loopback may need none.",
    }
}


def install(app: FastAPI) -> None:
    """Let `app` serve the document at /openapi.json."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        tags=app.openapi_tags,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    _, schemas = models_json_schema([(model, "validation") for model in _READ_BY_HAND], ref_template=_REFERENCE)
    known = found["components"]["schemas"]
    for name, schema in schemas["$defs"].items():
        known.setdefault(name, schema)
    # FastAPI's own shape of a 422, which nothing here answers with.
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    for name in ("EditRequest", "ConsolidationRequest"):
        known[name]["properties"]["algorithm"]["enum"] = [*ALGORITHMS]
    describe_metrics(known)
    found["components"]["securitySchemes"] = _SCHEMES
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _describe_access(path, operation, RULES[method.upper(), path])
            _describe_wrong_fields(path, operation)
            _describe_events(path, operation)
            _describe_parameters(operation)
    add_links(found["paths"])
    return found


def _describe_wrong_fields(path: str, operation: dict[str, Any]) -> None:
    """In place of FastAPI's own 422. On OpenAI's paths a wrong field is a 400."""
    if "application/json" in operation["responses"].get("422", {}).get("content", {}):
        del operation["responses"]["422"]
        if path not in OPENAI_PATHS:
            operation["responses"]["422"] = responses(InvalidFieldsError)[422]


def _describe_parameters(operation: dict[str, Any]) -> None:
    """What FastAPI does not say: that none is null, and that no text in a query holds a NUL character.

    One that may be left out is Python's None then; in an address or a header null would be the text "null".
    """
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            schema = {**kinds[0], **{name: value for name, value in schema.items() if name != "anyOf"}}
        if parameter["in"] == "query" and schema.get("type") == "string" and "enum" not in schema:
            schema = {"pattern": NO_NUL, **schema}
        parameter["schema"] = schema


def _describe_events(path: str, operation: dict[str, Any]) -> None:
    """Routes name the schema of what an event's data say in JSON; of the event, OpenAPI has its fields."""
    for answer in operation["responses"].values():
        entry = answer.get("content", {}).get(EVENT_STREAM_TYPE)
        if entry is not None:
            text = {"type": "string"}
            data: dict[str, Any] = {
                **text,
                "contentMediaType": "application/json",
                "contentSchema": entry["itemSchema"],
            }
            if path in OPENAI_PATHS:
                data = {"anyOf": [data, {"const": LAST_DATA}]}
            fields = {"data": data, "event": text, "id": text, "retry": {"type": "integer"}}
            # Written anew: what FastAPI hands over is a part of the routes themselves.
            described = {EVENT_STREAM_TYPE: {"itemSchema": {"type": "object", "properties": fields}}}
            answer["content"] = {**answer["content"], **described}


def _describe_access(path: str, operation: dict[str, Any], rule: Rule) -> None:
    """Who may call it, and what all others are told."""
    if rule.is_public:
        operation["security"] = []
        return
    operation["security"] = [{_SCHEME: [scope]} for scope in rule.scopes] or [{_SCHEME: []}]
    if path in OPENAI_PATHS:
        told = openai_responses(401, 403, 429)
    else:
        told = responses(UnauthorizedError, ScopeMissingError, ModelNotGrantedError, ForbiddenError, LimitReachedError)
    answers = operation["responses"]
    for status, entry in told.items():
        known = answers.get(str(status))
        answers[str(status)] = entry if known is None or path in OPENAI_PATHS else _both(entry, known)
    operation["responses"] = dict(sorted(answers.items()))


def _both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two entries of problems with one status as one."""
    content = {
        kind: {**body, "examples": {**body["examples"], **second["content"][kind]["examples"]}}
        for kind, body in first["content"].items()
    }
    return {**first, "description": f"{first['description']}; {second['description']}", "content": content}


def render(app: FastAPI) -> bytes:
    """The document as the repository keeps it."""
    return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
