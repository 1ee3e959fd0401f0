# Made by client/unasync.py from operations.py of _async: change that one, and run it.
"""`client.operations`: health, readiness, release and metrics of the server, as a monitor asks for them.

Jobs and edits are not these operations. What a `Call` says is sent, and repeated, by `transport`.
"""

from __future__ import annotations

import time

from emmetd_client._calls import Call, Repeat, reading, text
from emmetd_client._pausing import pause_for
from emmetd_client._server import ServerInfo
from emmetd_client._sync.transport import Transport
from emmetd_client.errors import ConnectionFailedError, UnavailableError
from emmetd_client.models.operations import Health, WorkerInfo, WorkerList

_PAUSE_SECONDS = 1.0
"""Between two questions of `wait_until_ready`."""


class Operations:
    """`client.operations`. None of it but `workers` needs a key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def live(self) -> Health:
        """Whether the process answers, whatever it is still waiting for."""
        return self._transport.send(Call("GET", "/livez", reading(Health)))

    def ready(self) -> Health:
        """Whether edits and completions are served. Raises UnavailableError saying what is awaited."""
        call = Call("GET", "/readyz", reading(Health), repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def wait_until_ready(self, timeout: float = 300.0) -> Health:
        """Ask `ready` until it says so. Raises what it raised last, after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.ready()
            except (UnavailableError, ConnectionFailedError):
                if time.monotonic() >= deadline:
                    raise
            pause_for(_PAUSE_SECONDS)

    def metrics(self) -> str:
        """The server's metrics in Prometheus's text format."""
        return self._transport.send(Call("GET", "/metrics", text, headers={"Accept": "text/plain"}))

    def workers(self) -> list[WorkerInfo]:
        """The workers that live, as they said of themselves some seconds ago. It needs a key where the server does."""
        return (self._transport.send(Call("GET", "/v1/workers", reading(WorkerList)))).data

    def server(self) -> ServerInfo:
        """The server's release, and all operations that it offers."""
        return self._transport.server()
