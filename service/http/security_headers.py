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
# Redoc makes <style> elements that are empty, whose rules it then adds one by one, and one for its scroll bar.
_STYLES_OF_REDOC: Final = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)


def _page(*styles: str) -> str:
    """The policy of a page that loads its script and style from here, asks this server alone, and sends no form."""
    allowed = " ".join(("'self'", *styles))
    return (
        f"{_NOTHING}; script-src 'self'; style-src {allowed}; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


_PAGES: Final = {
    "/": _page(),
    "/docs": _page(),
    # Its search runs in a worker that its own script makes.
    "/redoc": f"{_page(*_STYLES_OF_REDOC)}; worker-src blob:",
}
_MAY_BE_KEPT: Final = frozenset({"/", "/docs", "/redoc", "/openapi.json"})
"""The same for everybody. All else is for the one who asked, and may be of another moment a second later."""
FILES_OF_PAGES: Final = ("/console/", "/reference/")
"""Below them stand what the pages load: files that say themselves how long they keep."""


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
                is_kept = path in _MAY_BE_KEPT or (path.startswith(FILES_OF_PAGES) and message["status"] in (200, 304))
                if not is_kept:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, guarded)
