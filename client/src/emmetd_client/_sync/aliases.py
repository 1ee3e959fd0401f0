# Made by client/unasync.py from aliases.py of _async: change that one, and run it.
"""`client.aliases`: names that point at versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emmetd_client._calls import Call, Repeat, nothing, reading
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.versions import Alias, AliasRequest

_ONE = "/v1/models/{model}/aliases/{alias}"
_REQUESTS = "/v1/models/{model}/alias-requests"
_REQUEST = "/v1/models/{model}/alias-requests/{request_id}"


class Aliases:
    """`client.aliases`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, model: str) -> Listing[Alias]:
        call = Call("GET", "/v1/models/{model}/aliases", page_reader(Alias), path={"model": model})
        return Listing(self._transport, call)

    def set(
        self,
        model: str,
        alias: str,
        version: str | None = None,
        *,
        expected: str | None = None,
        protected: bool | None = None,
        approval: bool | None = None,
        guard: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Alias:
        """Point `alias` at `version`; where `expected` is given, only if it points there now (else ConflictError).

        Going back is `set(model, "latest", "v0", expected="v1")`. `protected` and `approval` need the scope admin. Of
        an alias that demands approval the answer has a `request`, which another key must `approve`; `reason` is told
        it. A guard, such as {"downstream": {"arc_easy": {"acc": {"most_fall": 0.02}}}}, names what must have been
        measured of a version before the alias is moved to it; an empty one takes it away.
        """
        body = {
            "version": version,
            "expected": expected,
            "protected": protected,
            "approval": approval,
            "guard": guard,
            "reason": reason,
        }
        # After a lost answer, a comparison with the version of before would fail because the first attempt succeeded.
        repeat = Repeat.ALWAYS if expected is None else Repeat.REFUSED
        path = {"model": model, "alias": alias}
        return self._transport.send(Call("PUT", _ONE, reading(Alias), path=path, body=body, repeat=repeat))

    def requests(
        self, model: str, *, alias: str | None = None, state: str | None = None, page_size: int | None = None
    ) -> Listing[AliasRequest]:
        """Changes that were asked for, newest first; `state` is that of an `AliasRequest`."""
        query = {"alias": alias, "state": state, "limit": page_size}
        call = Call("GET", _REQUESTS, page_reader(AliasRequest), path={"model": model}, query=query)
        return Listing(self._transport, call)

    def request(self, model: str, request_id: str) -> AliasRequest:
        path = {"model": model, "request_id": request_id}
        return self._transport.send(Call("GET", _REQUEST, reading(AliasRequest), path=path))

    def approve(self, model: str, request_id: str, *, reason: str | None = None) -> AliasRequest:
        """Carry a request out. It takes another key than the one that asked, with the scope admin."""
        return self._decide(f"{_REQUEST}/approve", model, request_id, reason)

    def refuse(self, model: str, request_id: str, *, reason: str | None = None) -> AliasRequest:
        """Refuse a request, or withdraw one's own."""
        return self._decide(f"{_REQUEST}/refuse", model, request_id, reason)

    def _decide(self, template: str, model: str, request_id: str, reason: str | None) -> AliasRequest:
        path = {"model": model, "request_id": request_id}
        body = {"reason": reason}
        # Decided twice would be refused: what the first attempt came to must not be hidden by that.
        call = Call("POST", template, reading(AliasRequest), path=path, body=body, repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def delete(self, model: str, alias: str) -> None:
        """The versions stay."""
        self._transport.send(Call("DELETE", _ONE, nothing, path={"model": model, "alias": alias}))
