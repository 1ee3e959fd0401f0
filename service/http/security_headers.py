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
    # The console loads its script and style from here, speaks to this server alone, and sends no form.
    "/": f"{_NOTHING}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'",
    # FastAPI's pages load their script and style from there, and start them with a line of their own.
    "/docs": f"{_NOTHING}; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    "https://cdn.jsdelivr.net; img-src 'self' data: https://fastapi.tiangolo.com; connect-src 'self'",
    "/redoc": f"{_NOTHING}; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    "https://fonts.googleapis.com; font-src https://fonts.gstatic.com; img-src 'self' data: https:; worker-src blob:; "
    "connect-src 'self'",
}
_MAY_BE_KEPT: Final = frozenset({"/", "/docs", "/redoc", "/openapi.json"})
"""The same for everybody. All else is for the one who asked, and may be of another moment a second later."""
CONSOLE_FILES: Final = "/console/"
"""Below it stand the console's files, whose names change with their content: they say themselves how long they keep."""


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
                is_kept = path in _MAY_BE_KEPT or (path.startswith(CONSOLE_FILES) and message["status"] in (200, 304))
                if not is_kept:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, guarded)
