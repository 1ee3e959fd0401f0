"""Letting requests in: keys are looked at on threads and over connections that nothing else uses.

However much of one key's fills the other threads or waits for the other connections, another's key is looked at.
"""

from __future__ import annotations

from typing import Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from configuration.settings import Settings
from service.access.authentication import authenticate, bootstrapped
from service.access.caller import Caller
from service.access.rates import Rates
from service.access.uses import KeyUses
from store.schema.database import Database, PoolSize

THREADS: Final = 4
"""A look takes a query and a question to Redis, about a millisecond."""


class Gate:
    """For the event loop. `database` reads keys, and is no one else's."""

    def __init__(self, settings: Settings, uses: KeyUses, rates: Rates) -> None:
        self.database = Database(settings.database_url, PoolSize.of(THREADS + 1))  # the watch looks at keys too
        self._settings = settings
        self._uses = uses
        self._rates = rates
        self._threads = CapacityLimiter(THREADS)

    async def admit(self, authorization: str | None, address: str | None) -> Caller:
        """Whose key the Authorization header carries. Raises UnauthorizedError or LimitReachedError."""
        known = bootstrapped(self._settings, authorization, address)
        if known is not None:
            return known
        return await run_sync(self._admit, authorization, address, limiter=self._threads)

    def close(self) -> None:
        self.database.close()

    def _admit(self, authorization: str | None, address: str | None) -> Caller:
        caller = authenticate(self._settings, self.database, self._uses, authorization, address)
        self._rates.take_request(caller)
        return caller
