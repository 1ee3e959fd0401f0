"""`client.models`: what can be edited and asked."""

from __future__ import annotations

from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, reading
from emmetd_client.models.versions import ModelCard


class AsyncModels:
    """`client.models`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self) -> AsyncListing[ModelCard]:
        """Models, their versions and their aliases, as OpenAI's clients list them."""
        return AsyncListing(self._transport, Call("GET", "/v1/models", page_reader(ModelCard)))

    async def get(self, model: str) -> ModelCard:
        """`model` is NAME, NAME@v3 or NAME@alias."""
        return await self._transport.send(Call("GET", "/v1/models/{model}", reading(ModelCard), path={"model": model}))
