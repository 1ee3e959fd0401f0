"""Shows the progress of a worker's start: bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from workers.status import StatusBoard

LOG_INTERVAL_SECONDS = 5.0

log = structlog.get_logger(__name__)


class StartProgress:
    """An `editing.progress.ProgressCallback` that also keeps the status board's line for `/readyz` up to date."""

    def __init__(self, status: StatusBoard) -> None:
        self._status = status
        self._bars: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description:>16}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
            self._bars = Progress(*columns, TimeRemainingColumn(), console=Terminal(stderr=True), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._shown = 0.0
        self._stage = ""

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str, done: float, total: float) -> None:
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._tasks[stage], completed=done, total=total)
        present = time.monotonic()
        new, finished = stage != self._stage, done >= total
        if not new and not finished and present - self._shown < LOG_INTERVAL_SECONDS / 5:
            return
        percent = round(100 * done / total) if total else 0
        self._status.detail(f"{stage}: {percent}%")
        if self._bars is None and (new or finished or present - self._shown >= LOG_INTERVAL_SECONDS):
            log.info(stage, percent=percent)
            self._shown = present
        self._stage = stage
