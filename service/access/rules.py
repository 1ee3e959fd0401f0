"""Which scope opens which route, in one table. An application with a route that is not in it does not start.

A rule that names several scopes is met by any of them, and `admin` meets all. Which model a key is for is looked at
besides: here for models named in the path or the query, in the services for those in a body and behind an id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api_schemas.access import Scope


@dataclass(frozen=True)
class Rule:
    """`scopes` empty: any key will do. `is_public`: none is asked for."""

    scopes: tuple[Scope, ...] = ()
    is_public: bool = False


PUBLIC: Final = Rule(is_public=True)
ANY_KEY: Final = Rule()
GENERATE: Final = Rule(("generate",))
EVALUATE: Final = Rule(("evaluate",))
EDIT: Final = Rule(("edit",))
READ: Final = Rule(("edit", "evaluate"))
ADMIN: Final = Rule(("admin",))

RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("POST", "/v1/edits"): EDIT,
    ("GET", "/v1/edits"): READ,
    ("GET", "/v1/edits/{edit_id}"): READ,
    ("GET", "/v1/edits/{edit_id}/events"): READ,
    ("GET", "/v1/edits/{edit_id}/facts"): READ,
    ("GET", "/v1/edits/{edit_id}/left-out"): READ,
    ("POST", "/v1/edits/{edit_id}/cancel"): EDIT,
    ("GET", "/v1/models"): ANY_KEY,
    ("POST", "/v1/models"): ADMIN,
    ("GET", "/v1/models/{model}"): ANY_KEY,
    ("PATCH", "/v1/models/{model}"): EDIT,
    ("GET", "/v1/models/{model}/versions"): ANY_KEY,
    ("GET", "/v1/models/{model}/versions/{version}"): ANY_KEY,
    ("PATCH", "/v1/models/{model}/versions/{version}"): EDIT,
    ("DELETE", "/v1/models/{model}/versions/{version}"): ADMIN,
    ("GET", "/v1/models/{model}/lineage"): ANY_KEY,
    ("GET", "/v1/models/{model}/versions/{version}/metrics"): ANY_KEY,
    ("GET", "/v1/models/{model}/versions/{version}/facts"): READ,
    ("GET", "/v1/models/{model}/versions/{version}/export"): EDIT,
    ("POST", "/v1/models/{model}/versions/{version}/revert"): EDIT,
    ("POST", "/v1/models/{model}/versions/{version}/consolidate"): EDIT,
    ("GET", "/v1/models/{model}/diff"): READ,
    ("GET", "/v1/models/{model}/aliases"): ANY_KEY,
    ("POST", "/v1/models/{model}/versions/{version}/downstream"): EVALUATE,
    ("GET", "/v1/models/{model}/versions/{version}/downstream"): READ,
    ("PUT", "/v1/models/{model}/aliases/{alias}"): EDIT,
    ("DELETE", "/v1/models/{model}/aliases/{alias}"): EDIT,
    ("GET", "/v1/models/{model}/alias-requests"): EDIT,
    ("GET", "/v1/models/{model}/alias-requests/{request_id}"): EDIT,
    ("POST", "/v1/models/{model}/alias-requests/{request_id}/approve"): ADMIN,
    ("POST", "/v1/models/{model}/alias-requests/{request_id}/refuse"): EDIT,
    ("POST", "/v1/evaluations"): EVALUATE,
    ("GET", "/v1/evaluations"): EVALUATE,
    ("GET", "/v1/evaluations/{evaluation_id}"): EVALUATE,
    ("GET", "/v1/evaluations/{evaluation_id}/report"): EVALUATE,
    ("POST", "/v1/evaluations/{evaluation_id}/cancel"): EVALUATE,
    ("POST", "/v1/statistics"): EDIT,
    ("GET", "/v1/statistics"): READ,
    ("GET", "/v1/statistics/{statistic_id}"): READ,
    ("POST", "/v1/statistics/{statistic_id}/cancel"): EDIT,
    ("GET", "/v1/corpora"): ANY_KEY,
    ("GET", "/v1/algorithms"): ANY_KEY,
    ("POST", "/v1/completions"): GENERATE,
    ("POST", "/v1/chat/completions"): GENERATE,
    ("POST", "/tokenize"): GENERATE,
    ("POST", "/detokenize"): GENERATE,
    ("GET", "/tokenizer_info"): GENERATE,
    ("POST", "/v1/deployments"): ADMIN,
    ("GET", "/v1/deployments"): READ,
    ("GET", "/v1/deployments/{deployment_id}"): READ,
    ("GET", "/v1/deployments/{deployment_id}/events"): READ,
    ("DELETE", "/v1/deployments/{deployment_id}"): ADMIN,
    ("GET", "/v1/audit"): ADMIN,
    ("GET", "/v1/keys"): ADMIN,
    ("POST", "/v1/keys"): ADMIN,
    ("POST", "/v1/keys/{key_id}/revoke"): ADMIN,
    ("GET", "/v1/keys/own"): ANY_KEY,
    ("GET", "/v1/workers"): ANY_KEY,
    ("POST", "/v1/webhooks"): ADMIN,
    ("GET", "/v1/webhooks"): ADMIN,
    ("GET", "/v1/webhooks/{webhook_id}"): ADMIN,
    ("PATCH", "/v1/webhooks/{webhook_id}"): ADMIN,
    ("DELETE", "/v1/webhooks/{webhook_id}"): ADMIN,
    ("POST", "/v1/webhooks/{webhook_id}/rotate"): ADMIN,
    ("POST", "/v1/webhooks/{webhook_id}/test"): ADMIN,
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): ADMIN,
    ("GET", "/livez"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    # The console's pages are the same for everybody; what they show comes from the routes above.
    ("GET", "/"): PUBLIC,
    ("GET", "/console/{file}"): PUBLIC,
    # The document, and the pages that show it.
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/redoc"): PUBLIC,
    ("GET", "/reference/{file}"): PUBLIC,
    ("GET", "/reference/{folder}/{file}"): PUBLIC,
}


def rule_of(method: str, path: str | None) -> Rule:
    """The rule of a route, by the pattern of its path. Raises LookupError where there is none: refuse then."""
    return RULES[_read(method), path or ""]


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path pattern of everything that `app` answers, mounted applications with a method "*"."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or {"*"}):
            yield method, route.path_format or str(route.path)


def check_routes(app: FastAPI) -> None:
    """Raises RuntimeError naming the routes of `app` for which nobody said who may use them."""
    unruled = [f"{method} {path}" for method, path in routes(app) if (_read(method), path) not in RULES]
    if unruled:
        raise RuntimeError(f"no scope is declared for {', '.join(unruled)}; add a line to service/access/rules.py")


def _read(method: str) -> str:
    return "GET" if method == "HEAD" else method
