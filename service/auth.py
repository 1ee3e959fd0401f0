"""The one gate that every route lies behind: whose key, which scope, which model, how often."""

from __future__ import annotations

from fastapi import Request

from service.access.addresses import check_is_local, client_address
from service.access.caller import NOBODY, Caller, local
from service.access.rules import rule_of
from service.errors import PageNotFoundError
from service.http.fields import invalid
from service.resources import Resources


async def authorised(request: Request) -> None:
    """Leaves the caller in `request.state.caller`. Raises UnauthorizedError, ForbiddenError or LimitReachedError."""
    # By its pattern: what is asked for is then what the rule was written for, however the path is spelt.
    rule = rule_of(request.method, getattr(request.scope.get("route"), "path_format", None))
    if rule.is_public:
        request.state.caller = NOBODY
        return
    _check_text(request)
    resources: Resources = request.app.state.resources
    caller = await _caller(request, resources)
    caller.check_scopes(rule.scopes)
    for named in (request.path_params.get("model"), *request.query_params.getlist("model")):
        if named is not None:
            caller.check_model(named.partition("@")[0])
    request.state.caller = caller


def _check_text(request: Request) -> None:
    """No name, id or cursor of ours has a NUL character, and PostgreSQL takes none to look for."""
    if "\x00" in request.url.path:
        raise PageNotFoundError("there is nothing at a path with a NUL character; GET /openapi.json lists all paths")
    for name, value in request.query_params.multi_items():
        if "\x00" in value:
            raise invalid(f"query.{name}", "holds a NUL character; remove it")


async def _caller(request: Request, resources: Resources) -> Caller:
    settings = resources.settings
    address = client_address(request, settings.trusted_networks)
    if not settings.needs_key:
        check_is_local(request, settings.allowed_origins)
        return local(address)
    return await resources.gate.admit(request.headers.get("authorization"), address)
