"""Retries while the database or a disk is unavailable: a worker that ended instead would load its model again.

The process starts through `retry_until_available`; `workers/jobs.py` asks the same of what ended a job.
"""

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
"""Errors of a database that cannot be reached or is busy; waiting mends no others, such as a broken constraint."""
RETRY_SECONDS: Final = 2.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


def disk_unavailable(error: Exception) -> str | None:
    """The reason in words, where `error` says that a disk or the blob store is away for now; None for other errors."""
    if isinstance(error, BlobStoreAwayError):
        return str(error)
    if isinstance(error, OSError) and error.errno in WILL_PASS:
        return disk_trouble(error)
    return None


def retry_until_available(
    status: StatusBoard, work: Callable[[], T], wait: Callable[[float], object] = time.sleep
) -> T:
    """What `work` returns, called every `RETRY_SECONDS` until database and disks let it; `status` shows the reason.

    Without a limit: an operator can mend a full disk at any time. Raises what `work` raises for other reasons.
    """
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
