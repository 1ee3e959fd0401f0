"""Holding a task: renewing its lease while it runs, and hearing that it must stop."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Literal, Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from editing.progress import check
from store.errors import LeaseLostError
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.work import lifecycle, tasks
from store.work.kinds import yields

StopReason = Literal["lost", "cancelled", "stopping", "yielding"]

log = structlog.get_logger(__name__)


class Lease:
    """A context manager around a task's run. `should_stop` is cheap enough to be asked at every optimiser step."""

    def __init__(self, database: Database, task: TaskRow, seconds: float, stopping: threading.Event) -> None:
        self.task = task
        self.reason: StopReason | None = None
        self._database = database
        self._seconds = seconds
        self._stopping = stopping
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{task.id}", daemon=True)

    def __enter__(self) -> Self:
        self._renew()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def should_stop(self) -> bool:
        if self.reason is None and self._stopping.is_set():
            self.reason = "stopping"
        return self.reason is not None

    def give_way(self, *, to_batches: bool = False) -> None:
        """Raise EditInterrupted where another task of the model waits, or where one does that is a batch's.

        For work in portions, which goes on later where it was.
        """
        with self._database.reading() as session:
            if self.reason is None and tasks.waiting_beside(session, self.task, of_batches=to_batches):
                self.reason = "yielding"
        check(self.should_stop, "the task")

    def _keep(self) -> None:
        while self.reason != "lost" and not self._ended.wait(self._seconds / 5):
            self._renew()

    def _renew(self) -> None:
        try:
            with self._database.updating() as session:
                tasks.renew(session, self.task.id, self.task.token, self._seconds)
                if lifecycle.is_asked_to_stop(session, self.task):
                    self.reason = "cancelled"
                elif yields(self.task) and tasks.more_urgent_waits(session, self.task):
                    self.reason = "yielding"
        except LeaseLostError:
            self.reason = "lost"
        except SQLAlchemyError as error:
            # The database may be back before the lease runs out; if not, the commit at the end decides.
            log.warning("lease not renewed", error=str(error))
