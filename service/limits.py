"""The size of request bodies, counted as they arrive: an endless one is refused before it is held or parsed."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLargeError
from service.problems import render


class BodyLimit:
    """ASGI middleware. A declared length over the limit is answered at once, an undeclared one when it is reached."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most:
            await render(scope["path"], self._error())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._most:
                    raise self._error()
            return message

        await self._app(scope, counted, send)

    def _error(self) -> TooLargeError:
        return TooLargeError(f"the body is larger than {self._most} bytes; send the facts in several batches")
