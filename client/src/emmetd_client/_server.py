"""Which release the server is, and whether it knows what was asked of it: its OpenAPI document says both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from emmetd_client._calls import Call
from emmetd_client._configuration import CLIENT_VERSION
from emmetd_client.errors import APIError, FieldError, NotOfferedError

_NO_SUCH_OPERATION: Final = frozenset({"path_not_found", "method_not_allowed", "http_404", "http_405"})
_STEP: Final = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True)
class ServerInfo:
    """`version` is the server's release, `operations` all that it offers ("GET /v1/models")."""

    version: str
    operations: frozenset[str]
    document: Mapping[str, Any] = field(repr=False)

    def offers(self, operation: str) -> bool:
        """`operation` as "POST /v1/edits"; what path parameters are called does not matter."""
        return _nameless(operation) in map(_nameless, self.operations)

    def knows_field(self, operation: str, loc: str) -> bool:
        """Whether a request of `operation` may have the field at `loc`, such as `facts[17].aliases`."""
        found = self._operation(operation)
        schema = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        steps = _STEP.findall(loc)
        if steps[:1] == ["query"]:
            return any(one.get("name") == steps[-1] for one in found.get("parameters", ()))
        return self._knows(schema, [step for step in steps if not step.isdigit()])

    def _operation(self, operation: str) -> Mapping[str, Any]:
        for path, methods in self.document.get("paths", {}).items():
            for method, found in methods.items():
                if _nameless(f"{method.upper()} {path}") == _nameless(operation):
                    return dict(found)
        return {}

    def _knows(self, schema: Mapping[str, Any], steps: list[str]) -> bool:
        """True also where the document does not say: it is then not the field's name that is wrong."""
        if not steps:
            return True
        alternatives = [self._resolved(one) for one in self._alternatives(schema)]
        described = [one for one in alternatives if "properties" in one]
        if not described:
            return True
        inside = [one["properties"][steps[0]] for one in described if steps[0] in one["properties"]]
        if not inside:
            return any(one.get("additionalProperties") not in (False, None) for one in described)
        return any(self._knows(one, steps[1:]) for one in inside)

    def _alternatives(self, schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        schema = self._resolved(schema)
        if "items" in schema:
            yield from self._alternatives(schema["items"])
        elif "anyOf" in schema:
            for one in schema["anyOf"]:
                yield from self._alternatives(one)
        else:
            yield schema

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in schema:
            return schema
        name = str(schema["$ref"]).rpartition("/")[2]
        return dict(self.document.get("components", {}).get("schemas", {}).get(name, {}))


def server_info(document: Any) -> ServerInfo:
    """Raises ValueError where `document` is not the OpenAPI document of an emmetd."""
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ValueError("/openapi.json is not an OpenAPI document")
    operations = frozenset(
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    )
    return ServerInfo(str(document.get("info", {}).get("version", "unknown")), operations, document)


def may_be_missing(error: APIError) -> bool:
    """Whether `error` may come from the server not knowing an operation or a field."""
    return error.code in _NO_SUCH_OPERATION or (error.status in (400, 422) and bool(error.fields))


def not_offered(call: Call[Any], error: APIError, server: ServerInfo, url: str) -> NotOfferedError | None:
    """What the server lacks for `call`; None where it lacks nothing and `error` stands as it is."""
    if not server.offers(call.operation):
        missing = [call.operation]
    elif error.code in _NO_SUCH_OPERATION:
        return None
    else:
        missing = [
            f"field {one.loc} of {call.operation}"
            for one in error.fields
            if not server.knows_field(call.operation, one.loc) and sent(call, one)
        ]
    if not missing:
        return None
    return NotOfferedError(
        f"the server at {url} is emmetd {server.version} and has no {', no '.join(missing)}; this is emmetd-client "
        f"{CLIENT_VERSION}: update the server, or leave that out",
        missing=missing,
        server_version=server.version,
    )


def sent(call: Call[Any], wrong: FieldError) -> bool:
    """Whether the client itself can have sent the field: a caller's own spelling mistake is nobody's old release."""
    steps = _STEP.findall(wrong.loc)
    return bool(steps) and steps[-1] in KNOWN_FIELDS


KNOWN_FIELDS: Final = frozenset(
    {
        *("description", "tags", "version", "expected", "protected", "approval", "reason", "url", "events", "paused"),
        *("model", "algorithm", "settings", "facts", "label", "thresholds", "budget", "dry_run", "urgent"),
        *("facts_of", "sample", "seed", "metrics", "compare_with", "of", "edits", "layers", "corpus", "tokens"),
        *("aliases", "portability", "locality", "generation_prompts", "forms", "condition_limit", "format", "weights"),
        *(
            "prompt",
            "messages",
            "temperature",
            "top_p",
            "n",
            "stop",
            "max_tokens",
            "logprobs",
            "echo",
            "stream_options",
        ),
    }
)
"""Names of fields that this release sends, or names in its signatures and documentation."""


def _nameless(operation: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", operation)
