# Made by client/unasync.py from downstream.py of _async: change that one, and run it.
"""`client.downstream`: what other programs measured of versions, kept with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emmetd_client._calls import Call, Repeat, reading, split_reference
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.downstream import DownstreamResult

_ALL = "/v1/models/{model}/versions/{version}/downstream"


class Downstream:
    """`client.downstream`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        model: str,
        version: str | None = None,
        *,
        harness: Mapping[str, str],
        results: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
    ) -> DownstreamResult:
        """Keep what a harness, {"name": …, "version": …}, measured: by task {"n": …, "measures": {name: {"value": …}}}.

        `settings` are what it was called with. A guarded alias asks for such results before it is moved.
        """
        name, of = split_reference(model, version)
        body = {"harness": dict(harness), "settings": dict(settings or {}), "results": dict(results)}
        path = {"model": name, "version": of}
        # Sent twice it would be kept twice, which misleads nobody: the newest counts.
        call = Call("POST", _ALL, reading(DownstreamResult), path=path, body=body, repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def list(
        self, model: str, version: str | None = None, *, page_size: int | None = None
    ) -> Listing[DownstreamResult]:
        """Newest first."""
        name, of = split_reference(model, version)
        path, query = {"model": name, "version": of}, {"limit": page_size}
        return Listing(self._transport, Call("GET", _ALL, page_reader(DownstreamResult), path=path, query=query))
