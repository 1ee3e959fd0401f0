"""Answers that are streams of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

EVENT_STREAM_TYPE: Final = "text/event-stream"
_HEADERS: Final = {
    "X-Accel-Buffering": "no",  # proxies of nginx's kind would else collect what shall arrive at once
}


class EventStream(StreamingResponse):
    """Sends `events` as they come and stops when the client leaves. `on_close` runs at the end, whichever it was."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        headers: Mapping[str, str] | None = None,
        on_close: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(events, headers={**_HEADERS, **(headers or {})}, media_type=EVENT_STREAM_TYPE)
        self._events = events
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A client that leaves while an event is being sent leaves the generator where it is.
            await self._events.aclose()
            if self._on_close is not None:
                await self._on_close()
