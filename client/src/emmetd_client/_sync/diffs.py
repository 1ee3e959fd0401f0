# Made by client/unasync.py from diffs.py of _async: change that one, and run it.
"""`client.diffs`: what lies between two versions."""

from __future__ import annotations

from emmetd_client._calls import Call, reading
from emmetd_client._sync.transport import Transport
from emmetd_client.models.versions import VersionDiff


class Diffs:
    """`client.diffs`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(
        self, model: str, before: str, after: str, *, limit: int | None = None, weights: bool | None = None
    ) -> VersionDiff:
        """Facts that `after` says and `before` does not, the reverse, and the weights between them.

        `limit` is the most facts of either; `weights=False` spares the server reading deltas.
        """
        query = {"from": before, "to": after, "limit": limit, "weights": weights}
        call = Call("GET", "/v1/models/{model}/diff", reading(VersionDiff), path={"model": model}, query=query)
        return self._transport.send(call)
