# Made by client/unasync.py from aliases.py of _async: change that one, and run it.
"""`client.aliases`: names that point at versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emmetd_client._calls import Call, Repeat, nothing, reading
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.versions import Alias

_ONE = "/v1/models/{model}/aliases/{alias}"


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
        guard: Mapping[str, Any] | None = None,
    ) -> Alias:
        """Point `alias` at `version`; where `expected` is given, only if it points there now (else ConflictError).

        Going back is `set(model, "latest", "v0", expected="v1")`. `protected` needs the scope
        admin. A guard, such as {"downstream": {"arc_easy": {"acc": {"most_fall": 0.02}}}}, names what must have
        been measured of a version before the alias is moved to it; an empty one takes it away.
        """
        body = {"version": version, "expected": expected, "protected": protected, "guard": guard}
        # After a lost answer, a comparison with the version of before would fail because the first attempt succeeded.
        repeat = Repeat.ALWAYS if expected is None else Repeat.REFUSED
        path = {"model": model, "alias": alias}
        return self._transport.send(Call("PUT", _ONE, reading(Alias), path=path, body=body, repeat=repeat))

    def delete(self, model: str, alias: str) -> None:
        """The versions stay."""
        self._transport.send(Call("DELETE", _ONE, nothing, path={"model": model, "alias": alias}))
