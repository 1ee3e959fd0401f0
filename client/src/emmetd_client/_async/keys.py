"""`client.keys`: make, list and revoke API keys. It needs the scope admin, but for `own`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, Repeat, reading
from emmetd_client.models.keys import Caller, Key, NewKey

_ALL = "/v1/keys"


class AsyncKeys:
    """`client.keys`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        label: str,
        scopes: Sequence[str],
        models: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        facts_per_day: int | None = None,
        open_batches: int | None = None,
    ) -> NewKey:
        """Make a key. Its `secret` is told this once; of a limit, 0 is none and None the server's default.

        It is not sent again where the answer may have been lost: that key is in the list, and is to be revoked.
        """
        body = {
            "label": label,
            "scopes": list(scopes),
            "models": None if models is None else list(models),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "facts_per_day": facts_per_day,
            "open_batches": open_batches,
        }
        return await self._transport.send(Call("POST", _ALL, reading(NewKey), body=body, repeat=Repeat.REFUSED))

    def list(self, *, page_size: int | None = None) -> AsyncListing[Key]:
        """Newest first, revoked and expired ones too."""
        return AsyncListing(self._transport, Call("GET", _ALL, page_reader(Key), query={"limit": page_size}))

    async def own(self) -> Caller:
        """What the client's own key may do."""
        return await self._transport.send(Call("GET", f"{_ALL}/own", reading(Caller)))

    async def revoke(self, key_id: str) -> Key:
        """For ever. It opens nothing from the next request on."""
        return await self._transport.send(
            Call("POST", f"{_ALL}/{{key_id}}/revoke", reading(Key), path={"key_id": key_id})
        )
