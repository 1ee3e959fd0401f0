"""`client.operations`: health, readiness, release and metrics of the server, as a monitor asks for them.

Jobs and edits are not these operations. What a `Call` says is sent, and repeated, by `transport`.
"""

from __future__ import annotations

import time

from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, Repeat, reading, text
from emmetd_client._pausing import async_pause
from emmetd_client._server import ServerInfo
from emmetd_client.errors import ConnectionFailedError, UnavailableError
from emmetd_client.models.operations import Health, WorkerInfo, WorkerList

_PAUSE_SECONDS = 1.0
"""Between two questions of `wait_until_ready`."""


class AsyncOperations:
    """`client.operations`. None of it but `workers` needs a key."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def live(self) -> Health:
        """Whether the process answers, whatever it is still waiting for."""
        return await self._transport.send(Call("GET", "/livez", reading(Health)))

    async def ready(self) -> Health:
        """Whether edits and completions are served. Raises UnavailableError saying what is awaited."""
        call = Call("GET", "/readyz", reading(Health), repeat=Repeat.REFUSED)
        return await self._transport.send(call)

    async def wait_until_ready(self, timeout: float = 300.0) -> Health:
        """Ask `ready` until it says so. Raises what it raised last, after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return await self.ready()
            except (UnavailableError, ConnectionFailedError):
                if time.monotonic() >= deadline:
                    raise
            await async_pause(_PAUSE_SECONDS)

    async def metrics(self) -> str:
        """The server's metrics in Prometheus's text format."""
        return await self._transport.send(Call("GET", "/metrics", text, headers={"Accept": "text/plain"}))

    async def workers(self) -> list[WorkerInfo]:
        """The workers that live, as they said of themselves some seconds ago. It needs a key where the server does."""
        return (await self._transport.send(Call("GET", "/v1/workers", reading(WorkerList)))).data

    async def server(self) -> ServerInfo:
        """The server's release, and all operations that it offers."""
        return await self._transport.server()
