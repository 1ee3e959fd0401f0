"""How many event streams a key follows at a time: each holds a connection for as long as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.access.caller import Caller
from service.access.places import Places
from service.errors import LimitReachedError

_RETRY_SECONDS: Final = 10


class EventStreams:
    """The open ones of one process. For the event loop alone."""

    def __init__(self) -> None:
        self._open = Places()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """One more of the caller's, while the block runs. Raises LimitReachedError."""
        most = caller.limits.event_streams
        if most and self._open.of(caller.id) >= most:
            raise LimitReachedError(
                "stream_limit",
                f"this API key may follow {most} event streams at a time; end one of them, or ask for states with "
                "GET /v1/edits",
                _RETRY_SECONDS,
            )
        with self._open.one_more(caller.id):
            yield
