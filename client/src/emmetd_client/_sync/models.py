# Made by client/unasync.py from models.py of _async: change that one, and run it.
"""`client.models`: what can be edited and asked."""

from __future__ import annotations

from emmetd_client._calls import Call, reading
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.versions import ModelCard


class Models:
    """`client.models`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Listing[ModelCard]:
        """Models, their versions and their aliases, as OpenAI's clients list them."""
        return Listing(self._transport, Call("GET", "/v1/models", page_reader(ModelCard)))

    def get(self, model: str) -> ModelCard:
        """`model` is NAME, NAME@v3 or NAME@alias."""
        return self._transport.send(Call("GET", "/v1/models/{model}", reading(ModelCard), path={"model": model}))
