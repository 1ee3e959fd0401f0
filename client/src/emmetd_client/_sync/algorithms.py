# Made by client/unasync.py from algorithms.py of _async: change that one, and run it.
"""`client.algorithms`: editing methods, their settings and defaults."""

from __future__ import annotations

from emmetd_client._calls import Call
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.algorithms import Algorithm


class Algorithms:
    """`client.algorithms`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, model: str | None = None) -> Listing[Algorithm]:
        """With `model`, each setting has what is recommended on it."""
        call = Call("GET", "/v1/algorithms", page_reader(Algorithm), query={"model": model})
        return Listing(self._transport, call)
