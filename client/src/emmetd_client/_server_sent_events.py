"""Server-sent events out of the bytes of a stream, as the HTML standard reads them (section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

EVENT_STREAM: Final = "text/event-stream"
MOST_BYTES: Final = 64 * 1024**2
"""Of one event: a stream that never ends one shall not fill the memory."""


@dataclass(frozen=True)
class ServerSentEvent:
    name: str
    data: str
    id: str | None


class EventDecoder:
    """Give it pieces of the stream as they come. `last_id` and `retry_seconds` are what it said of them last."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.retry_seconds: float | None = None
        self._rest = b""
        self._size = 0
        self._name = ""
        self._data: list[str] = []
        self._id: str | None = None

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """Events that are whole now. Raises ValueError for one that is larger than MOST_BYTES."""
        # At bytes, and at these line ends alone: JSON may hold what str.splitlines takes for one (U+2028).
        lines = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        self._size += len(piece)
        if self._size > MOST_BYTES:
            raise ValueError(f"an event of the stream has more than {MOST_BYTES} bytes")
        for line in lines:
            for part in line.split(b"\r") if b"\r" in line else (line,):
                event = self._line(part.decode("utf-8", "replace"))
                if event is not None:
                    yield event

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatched()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isdecimal():
            self.retry_seconds = int(value) / 1000
        return None

    def _dispatched(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._name or "message", "\n".join(self._data), self._id) if self._data else None
        if self._id is not None:
            self.last_id = self._id  # not before: an event that is cut off has to come again
        self._name, self._data, self._id, self._size = "", [], None, len(self._rest)
        return event
