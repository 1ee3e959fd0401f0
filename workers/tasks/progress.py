"""How far a task is, written to SQL at most once a second."""

from __future__ import annotations

import time
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from store.schema.database import Database
from store.work import lifecycle
from store.work.kinds import EDIT, JobKind

INTERVAL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class TaskProgress:
    """An `editing.progress.Progress` that writes into the row of a job, of kind `of`.

    `before` items of `total` were done by other shards; the time left is guessed from this task's own pace.
    """

    def __init__(
        self,
        database: Database,
        row_id: str,
        *,
        of: JobKind[Any] = EDIT,
        before: float = 0,
        total: float | None = None,
    ) -> None:
        self._database = database
        self._row_id = row_id
        self._of = of
        self._before = before
        self._total = total
        self._stage = ""
        self._started = self._written = 0.0

    def __call__(self, stage: str, done: float, total: float) -> None:
        present = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._written = stage, present, 0.0
        if present - self._written < INTERVAL_SECONDS and done < total:
            return
        self._written = present
        whole = self._total if self._total is not None else total
        elapsed = present - self._started
        eta = round(elapsed / done * (whole - self._before - done), 1) if done and elapsed > 0.5 else None
        try:
            with self._database.updating() as session:
                lifecycle.write_progress(
                    session, self._of, self._row_id, stage, round(self._before + done, 2), whole, eta
                )
        except SQLAlchemyError as error:
            log.warning("progress not written", error=str(error))
