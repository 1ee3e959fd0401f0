"""A span for every request, under which everything stands that comes of it, also long after its answer."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configuration import tracing

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_QUIET_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})


class RequestTrace:
    """ASGI middleware around the request log, whose lines so have the trace's id.

    FastAPI and Starlette bring middleware of their own for this; their spans carry the query string and the client's
    address, which are nobody's business behind a collector.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _QUIET_PATHS:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        sent_by = tracing.from_headers(Headers(scope=scope))
        with tracing.span(method, {"http.request.method": method}, kind="server", parent=sent_by) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    request_id = Headers(raw=message["headers"]).get("x-request-id")
                    tracing.note({"http.response.status_code": status, "emmetd.request.id": request_id}, span)
                    if status >= 500:
                        tracing.fail(str(status), span)
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                # Set by the router. Paths are without bound; a route's pattern is not.
                route = getattr(scope.get("route"), "path_format", None)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    tracing.note({"http.route": route}, span)
