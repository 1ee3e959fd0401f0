# Made by client/unasync.py from operations.py of _async: change that one, and run it.
"""`client.operations`: is the server alive and ready, which release is it, how is it doing?"""

from __future__ import annotations

import time

from emmetd_client._calls import Call, Repeat, reading, text
from emmetd_client._pausing import pause_for
from emmetd_client._server import ServerInfo
from emmetd_client._sync.transport import Transport
from emmetd_client.errors import ConnectionFailedError, UnavailableError
from emmetd_client.models.operations import Health

_PAUSE_SECONDS = 1.0


class Operations:
    """`client.operations`. None of it needs a key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def live(self) -> Health:
        return self._transport.send(Call("GET", "/livez", reading(Health)))

    def ready(self) -> Health:
        """Raises UnavailableError saying what is awaited."""
        answer = Call("GET", "/readyz", reading(Health), repeat=Repeat.REFUSED)
        return self._transport.send(answer)

    def wait_until_ready(self, timeout: float = 300.0) -> Health:
        """Ask until edits and completions are served. Raises what the last question raised, after `timeout` seconds."""
        until = time.monotonic() + timeout
        while True:
            try:
                return self.ready()
            except (UnavailableError, ConnectionFailedError):
                if time.monotonic() >= until:
                    raise
            pause_for(_PAUSE_SECONDS)

    def metrics(self) -> str:
        """Prometheus's text."""
        return self._transport.send(Call("GET", "/metrics", text, headers={"Accept": "text/plain"}))

    def server(self) -> ServerInfo:
        """The server's release, and all operations that it offers."""
        return self._transport.server()
