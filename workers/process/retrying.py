"""Retries while the database or a disk is unavailable: a worker that ended instead would load its model again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from store.errors import BlobStoreAwayError
from store.upkeep.availability import WILL_PASS, Reminders, database_trouble, disk_trouble
from workers.status import StatusBoard

DATABASE_AWAY: Final = (OperationalError, InterfaceError, PoolTimeoutError)
RETRY_SECONDS: Final = 2.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


def disk_unavailable(error: Exception) -> str | None:
    """Why what failed with `error` may be done later, where a disk or the store of blobs is the reason."""
    if isinstance(error, BlobStoreAwayError):
        return str(error)
    if isinstance(error, OSError) and error.errno in WILL_PASS:
        return disk_trouble(error)
    return None


def retry_until_available(
    status: StatusBoard, work: Callable[[], T], wait: Callable[[float], object] = time.sleep
) -> T:
    """Do `work`, again and again until database and disks let it; what is waited for is in the status."""
    reminders = Reminders()
    while True:
        try:
            return work()
        except (*DATABASE_AWAY, BlobStoreAwayError, OSError) as error:
            reason = database_trouble(error) if isinstance(error, DATABASE_AWAY) else disk_unavailable(error)
            if reason is None:
                raise
            if reminders.due(reason):
                log.warning("the worker waits", reason=reason, error=str(error))
            status.detail(f"waiting: {reason}")
            wait(RETRY_SECONDS)
