"""`client.operations`: is the server alive and ready, which release is it, how is it doing?"""

from __future__ import annotations

import time

from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, Repeat, reading, text
from emmetd_client._pausing import async_pause
from emmetd_client._server import ServerInfo
from emmetd_client.errors import ConnectionFailedError, UnavailableError
from emmetd_client.models.operations import Health

_PAUSE_SECONDS = 1.0


class AsyncOperations:
    """`client.operations`. None of it needs a key."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def live(self) -> Health:
        return await self._transport.send(Call("GET", "/livez", reading(Health)))

    async def ready(self) -> Health:
        """Raises UnavailableError saying what is awaited."""
        answer = Call("GET", "/readyz", reading(Health), repeat=Repeat.REFUSED)
        return await self._transport.send(answer)

    async def wait_until_ready(self, timeout: float = 300.0) -> Health:
        """Ask until edits and completions are served. Raises what the last question raised, after `timeout` seconds."""
        until = time.monotonic() + timeout
        while True:
            try:
                return await self.ready()
            except (UnavailableError, ConnectionFailedError):
                if time.monotonic() >= until:
                    raise
            await async_pause(_PAUSE_SECONDS)

    async def metrics(self) -> str:
        """Prometheus's text."""
        return await self._transport.send(Call("GET", "/metrics", text, headers={"Accept": "text/plain"}))

    async def server(self) -> ServerInfo:
        """The server's release, and all operations that it offers."""
        return await self._transport.server()
