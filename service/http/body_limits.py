"""The size of request bodies, counted as they arrive: an endless one is refused before it is held or parsed."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLargeError
from service.http.problems import OPENAI_PATHS, render

_MEBIBYTE: Final = 1024**2
_WITH_FACTS: Final = ("/v1/edits", "/v1/evaluations")
"""Where facts by the thousand are sent; `service.http.large_bodies` sees to it that few such bodies come at a time."""
_PROMPT_BYTES: Final = 4 * _MEBIBYTE
"""The longest prompt has a million characters."""
_OTHER_BYTES: Final = _MEBIBYTE


def most_bytes(path: str, largest: int) -> int:
    """Of a body that is sent to `path`; `largest` is what the settings allow."""
    if path in _WITH_FACTS:
        return largest
    return min(largest, _PROMPT_BYTES if path in OPENAI_PATHS else _OTHER_BYTES)


class BodyLimit:
    """ASGI middleware. A declared length over the limit is answered at once, an undeclared one when it is reached."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = most_bytes(scope["path"], self._largest)
        declared = declared_bytes(Headers(scope=scope))
        if declared is not None and declared > most:
            await render(scope["path"], _error(most))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    raise _error(most)
            return message

        await self._app(scope, counted, send)


def declared_bytes(headers: Headers) -> int | None:
    """What Content-Length says; None where there is none."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else None


def _error(most: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {most} bytes; send less at once, facts in several batches")
