# Made by client/unasync.py from audit.py of _async: change that one, and run it.
"""`client.audit`: who changed what. It needs the scope admin."""

from __future__ import annotations

from emmetd_client._calls import Call
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.operations import AuditEntry


class Audit:
    """`client.audit`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        model: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        page_size: int | None = None,
    ) -> Listing[AuditEntry]:
        """Changes, newest first."""
        query = {"model": model, "actor": actor, "action": action, "limit": page_size}
        return Listing(self._transport, Call("GET", "/v1/audit", page_reader(AuditEntry), query=query))
