"""Every request gets an id, a line in the log and an observation of its duration."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError
from service.http.problems import render
from service.metrics import ServiceMetrics

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_CLIENT_GONE: Final = 499

log = structlog.get_logger(__name__)


class RequestLog:
    """ASGI middleware, outermost of ours: what nobody foresaw ends here as a logged 500."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        status = _CLIENT_GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, watched)
            except Exception:
                log.exception("request failed", method=scope["method"], path=scope["path"])
                if status == _CLIENT_GONE:
                    error = InternalError(f"something went wrong here; the log says more under request {request_id}")
                    await render(scope["path"], error)(scope, receive, watched)
                else:
                    raise  # the answer has begun: only cutting the connection still says that it is not whole
            finally:
                self._observe(scope, status, time.perf_counter() - started)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        # Set by the router. Paths are without bound and would be as many series; a route's pattern is not.
        route = getattr(scope.get("route"), "path_format", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http_request_duration.labels(method, route, str(status)).observe(seconds)
        level = log.debug if route in _QUIET_ROUTES and status != 500 else log.info
        level("request", method=method, path=scope["path"], route=route, status=status, seconds=round(seconds, 4))
