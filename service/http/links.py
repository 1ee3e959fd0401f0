"""Where an answer leads: which of its values are parameters of which other operations, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_ID: Final = "$response.body#/id"


@dataclass(frozen=True)
class Link:
    """From an answer with `status` to `to`, whose parameters are had by runtime expressions of OpenAPI."""

    of: tuple[str, str]
    status: int
    to: tuple[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def _follow_edit(of: tuple[str, str], status: int, edit_id: str = _ID) -> tuple[Link, ...]:
    path = "/v1/edits/{edit_id}"
    to = (("GET", path), ("GET", f"{path}/facts"), ("GET", f"{path}/events"), ("POST", f"{path}/cancel"))
    return tuple(Link(of, status, one, {"edit_id": edit_id}) for one in to)


_VERSION: Final = "/v1/models/{model}/versions/{version}"
_OF_VERSION: Final = {"model": "$response.body#/model", "version": "$response.body#/version"}
_ALIAS: Final = "/v1/models/{model}/aliases/{alias}"
_OF_ALIAS: Final = {"model": "$response.body#/model", "alias": "$response.body#/alias"}
_DEPLOYMENT: Final = "/v1/deployments/{deployment_id}"
_FIRST_VERSION: Final = {"model": "$response.body#/data/0/model", "version": "$response.body#/data/0/version"}

LINKS: Final[tuple[Link, ...]] = (
    *_follow_edit(("POST", "/v1/edits"), 202),
    *_follow_edit(("POST", f"{_VERSION}/revert"), 202),
    *_follow_edit(("GET", "/v1/edits"), 200, "$response.body#/data/0/id"),
    Link(("GET", "/v1/edits/{edit_id}"), 200, ("GET", _VERSION), _OF_VERSION),
    Link(("GET", "/v1/models"), 200, ("GET", "/v1/models/{model}"), {"model": "$response.body#/data/0/id"}),
    Link(("GET", "/v1/models"), 200, ("GET", "/v1/models/{model}/versions"), {"model": "$response.body#/data/0/id"}),
    Link(("GET", "/v1/models"), 200, ("GET", "/v1/models/{model}/aliases"), {"model": "$response.body#/data/0/id"}),
    Link(("GET", "/v1/models/{model}/versions"), 200, ("GET", _VERSION), _FIRST_VERSION),
    Link(("GET", "/v1/models/{model}/versions"), 200, ("POST", f"{_VERSION}/revert"), _FIRST_VERSION, {"facts": [0]}),
    Link(("GET", _VERSION), 200, ("GET", f"{_VERSION}/facts"), _OF_VERSION),
    Link(("GET", _VERSION), 200, ("GET", f"{_VERSION}/metrics"), _OF_VERSION),
    Link(("GET", _VERSION), 200, ("GET", f"{_VERSION}/export"), _OF_VERSION),
    Link(("GET", _VERSION), 200, ("POST", f"{_VERSION}/revert"), _OF_VERSION, {"facts": [0]}),
    Link(("GET", _VERSION), 200, ("DELETE", _VERSION), _OF_VERSION),
    Link(
        ("GET", _VERSION),
        200,
        ("GET", "/v1/models/{model}/diff"),
        {"model": "$response.body#/model", "from": "$response.body#/parent", "to": "$response.body#/version"},
    ),
    Link(("PUT", _ALIAS), 200, ("GET", _VERSION), _OF_VERSION),
    Link(("PUT", _ALIAS), 200, ("GET", "/v1/models/{model}/aliases"), {"model": "$response.body#/model"}),
    Link(("PUT", _ALIAS), 200, ("DELETE", _ALIAS), _OF_ALIAS),
    *(
        Link(("POST", "/v1/deployments"), 202, to, {"deployment_id": _ID})
        for to in (("GET", _DEPLOYMENT), ("GET", f"{_DEPLOYMENT}/events"), ("DELETE", _DEPLOYMENT))
    ),
    Link(("POST", "/v1/evaluations"), 202, ("GET", "/v1/evaluations/{evaluation_id}"), {"evaluation_id": _ID}),
    Link(("POST", "/v1/evaluations"), 202, ("POST", "/v1/evaluations/{evaluation_id}/cancel"), {"evaluation_id": _ID}),
    Link(
        ("GET", "/v1/evaluations"),
        200,
        ("GET", "/v1/evaluations/{evaluation_id}"),
        {"evaluation_id": "$response.body#/data/0/id"},
    ),
    Link(("POST", "/v1/statistics"), 202, ("GET", "/v1/statistics/{statistic_id}"), {"statistic_id": _ID}),
    Link(("POST", "/v1/statistics"), 202, ("POST", "/v1/statistics/{statistic_id}/cancel"), {"statistic_id": _ID}),
    Link(
        ("GET", "/v1/statistics"),
        200,
        ("GET", "/v1/statistics/{statistic_id}"),
        {"statistic_id": "$response.body#/data/0/id"},
    ),
)


def add_links(paths: dict[str, Any]) -> None:
    """Write all LINKS into the document's `paths`. Raises KeyError for a link from or to what is not there."""
    for link in LINKS:
        target = paths[link.to[1]][link.to[0].lower()]
        source = paths[link.of[1]][link.of[0].lower()]
        entry: dict[str, Any] = {"operationId": target["operationId"], "description": target["summary"]}
        if link.parameters:
            entry["parameters"] = dict(link.parameters)
        if link.body is not None:
            entry["requestBody"] = link.body
        source["responses"][str(link.status)].setdefault("links", {})[target["operationId"]] = entry
