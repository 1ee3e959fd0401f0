"""Shows the progress of a worker's start: bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import time

import structlog

from workers.process.shown_progress import ShownProgress
from workers.status import StatusBoard

DETAIL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class StartProgress(ShownProgress):
    """An `editing.progress.ProgressCallback` that also keeps the status board's line for `/readyz` up to date."""

    def __init__(self, status: StatusBoard) -> None:
        super().__init__(_log_line)
        self._status = status
        self._detailed = 0.0
        self._detail_of = ""

    def __call__(self, stage: str, done: float, total: float) -> None:
        super().__call__(stage, done, total)
        present = time.monotonic()
        if stage != self._detail_of or done >= total or present - self._detailed >= DETAIL_SECONDS:
            self._detail_of, self._detailed = stage, present
            self._status.detail(f"{stage}: {100 * done / total if total else 0:.0f}%")


def _log_line(stage: str, share: float, seconds: float) -> None:
    log.info(stage, percent=round(100 * share))
