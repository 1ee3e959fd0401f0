"""`client.models`: what can be edited and asked."""

from __future__ import annotations

from collections.abc import Sequence

from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, Repeat, condition_headers, notes_body, reading, reading_noted
from emmetd_client.models.versions import ModelCard

_ONE = "/v1/models/{model}"


class AsyncModels:
    """`client.models`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, *, tag: str | None = None, search: str | None = None) -> AsyncListing[ModelCard]:
        """Models, their versions and their aliases, as OpenAI's clients list them; with `tag`, or a text, those alone
        that have it."""
        query = {"tag": tag, "q": search}
        return AsyncListing(self._transport, Call("GET", "/v1/models", page_reader(ModelCard), query=query))

    async def get(self, model: str) -> ModelCard:
        """`model` is NAME, NAME@v3 or NAME@alias."""
        return await self._transport.send(Call("GET", _ONE, reading_noted(ModelCard), path={"model": model}))

    async def add(self, source: str, *, revision: str | None = None, name: str | None = None) -> ModelCard:
        """Register a hub id at the commit that `revision` is now, or a folder that the server's operator allows.

        A worker started for its NAME loads it. What is registered so already is answered as it is; another source or
        revision under that NAME is a ConflictError. Needs the scope admin.
        """
        body = {"source": source, "revision": revision, "name": name}
        return await self._transport.send(Call("POST", "/v1/models", reading(ModelCard), body=body))

    async def update(
        self,
        model: str,
        *,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        if_match: str | None = None,
    ) -> ModelCard:
        """Change description or tags; "" and [] take away. `if_match` is the `etag` that was read: with it, a change
        that somebody made meanwhile is a ConflictError."""
        body, headers = notes_body(description, tags), condition_headers(if_match)
        call = Call(
            "PATCH",
            _ONE,
            reading_noted(ModelCard),
            path={"model": model},
            body=body,
            headers=headers,
            repeat=Repeat.ALWAYS if if_match is None else Repeat.REFUSED,
        )
        return await self._transport.send(call)
