"""Headers that keep browsers from doing what nobody meant with our answers: guess types, frame, cache or run them."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
_PAGES: Final = {
    # Our own page has its style in itself and no script.
    "/": f"{_NOTHING}; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'",
    # FastAPI's pages load their script and style from there, and start them with a line of their own.
    "/docs": f"{_NOTHING}; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    "https://cdn.jsdelivr.net; img-src 'self' data: https://fastapi.tiangolo.com; connect-src 'self'",
    "/redoc": f"{_NOTHING}; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    "https://fonts.googleapis.com; font-src https://fonts.gstatic.com; img-src 'self' data: https:; worker-src blob:; "
    "connect-src 'self'",
}
_MAY_BE_KEPT: Final = frozenset({"/", "/docs", "/redoc", "/openapi.json"})
"""The same for everybody. All else is for the one who asked, and may be of another moment a second later."""


class SecurityHeaders:
    """ASGI middleware. A route may set its own Content-Security-Policy; `no-store` is for all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                headers.setdefault("Content-Security-Policy", _PAGES.get(path, _NOTHING))
                if path not in _MAY_BE_KEPT:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, guarded)
