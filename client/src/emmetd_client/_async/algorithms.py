"""`client.algorithms`: editing methods, their settings and defaults."""

from __future__ import annotations

from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call
from emmetd_client.models.algorithms import Algorithm


class AsyncAlgorithms:
    """`client.algorithms`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, *, model: str | None = None) -> AsyncListing[Algorithm]:
        """With `model`, each setting has what is recommended on it."""
        call = Call("GET", "/v1/algorithms", page_reader(Algorithm), query={"model": model})
        return AsyncListing(self._transport, call)
