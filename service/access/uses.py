"""Noting when keys were last used, beside the requests that use them: none waits for its turn to write."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from store.access import keys
from store.schema.database import Database

_REST_SECONDS: Final = 60.0
"""For so long a key is not noted again: a database that cannot be written is not asked at every request."""

log = structlog.get_logger(__name__)


class KeyUses:
    """Writes from one thread of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="key-uses")

    def note(self, key_id: str) -> None:
        """Soon; it is no matter if it fails."""
        moment = time.monotonic()
        with self._lock:
            if moment - self._noted.get(key_id, float("-inf")) < _REST_SECONDS:
                return
            self._noted[key_id] = moment
        self._thread.submit(self._write, key_id)

    def close(self) -> None:
        """Once all that was noted is written."""
        self._thread.shutdown()

    def _write(self, key_id: str) -> None:
        try:
            with self._database.updating() as session:
                keys.mark_used(session, key_id)
        except SQLAlchemyError as error:
            # A database that can only be read serves whoever only reads.
            log.warning("the use of a key could not be noted", key=key_id, error=type(error).__name__)
