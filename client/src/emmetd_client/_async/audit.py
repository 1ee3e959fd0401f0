"""`client.audit`: who changed what. It needs the scope admin."""

from __future__ import annotations

from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call
from emmetd_client.models.operations import AuditEntry


class AsyncAudit:
    """`client.audit`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        model: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        page_size: int | None = None,
    ) -> AsyncListing[AuditEntry]:
        """Changes, newest first."""
        query = {"model": model, "actor": actor, "action": action, "limit": page_size}
        return AsyncListing(self._transport, Call("GET", "/v1/audit", page_reader(AuditEntry), query=query))
