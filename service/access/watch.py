"""Whether the keys behind long answers are still good: one that was revoked shall not go on reading."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError

from service.access.authentication import check_good
from service.access.caller import NOBODY, Caller
from service.errors import UnauthorizedError
from store.access.audit import BOOTSTRAP, LOCAL
from store.schema.access_tables import KeyRow
from store.schema.database import Database

LOOK_SECONDS: Final = 3.0
"""For so long a key counts as it was found: SQL is asked once for all answers that one key is reading."""
_NOT_IN_SQL: Final = (NOBODY.id, BOOTSTRAP, LOCAL)

log = structlog.get_logger(__name__)


class KeyWatch:
    """Asked by every answer that takes long, as often as it likes. For the event loop alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Of its own: what fills the others shall not keep an ended key alive.
        self._thread = CapacityLimiter(1)
        self._looked_at: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, str] = {}

    def check(self, caller: Caller) -> None:
        """Raises UnauthorizedError soon after the caller's key was revoked or deleted, or has expired.

        It waits for nothing: no answer is held up by a database that is slow.
        """
        if caller.id in _NOT_IN_SQL:
            return
        moment = time.monotonic()
        if caller.id not in self._looking and moment - self._looked_at.get(caller.id, -math.inf) >= LOOK_SECONDS:
            self._looked_at[caller.id] = moment
            self._looking[caller.id] = asyncio.create_task(self._refresh(caller.id), name=f"look at {caller.id}")
        if caller.id in self._ended:
            raise UnauthorizedError(self._ended[caller.id], is_wrong=True)

    async def _refresh(self, key_id: str) -> None:
        try:
            await run_sync(self._look, key_id, limiter=self._thread)
        except UnauthorizedError as error:
            self._ended[key_id] = error.detail
        except SQLAlchemyError as error:
            # What has begun is not ended by a database that is away; nothing new begins with this key meanwhile.
            log.warning("a key could not be looked at", key=key_id, error=type(error).__name__)
        finally:
            del self._looking[key_id]

    def _look(self, key_id: str) -> None:
        with self._database.reading() as session:
            row = session.get(KeyRow, key_id)
        if row is None:
            raise UnauthorizedError(f"the API key {key_id} was deleted; ask for a new one", is_wrong=True)
        check_good(row)
