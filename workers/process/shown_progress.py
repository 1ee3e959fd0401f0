"""How far long work is, on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_SECONDS = 5.0

SayLine = Callable[[str, float, float], None]
"""Called with the stage, the share of it that is done (0 to 1), and the seconds since it began."""


def write_line(stage: str, share: float, seconds: float) -> None:
    """`solve: 40%, about 9 s left` on standard error."""
    left = f", about {seconds * (1 - share) / share:.0f} s left" if 0 < share < 1 and seconds > 1 else ""
    print(f"{stage}: {share:.0%}{left}", file=sys.stderr, flush=True)


class ShownProgress:
    """An `editing.progress.Progress`, to be used as a context manager; `say` is what lines go to."""

    def __init__(self, say: SayLine = write_line) -> None:
        self._say = say
        self._bars: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description:>16}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
            self._bars = Progress(*columns, TimeRemainingColumn(), console=Terminal(stderr=True), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._stage = ""
        self._started = self._said = 0.0

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
            return
        present = time.monotonic()
        if new := stage != self._stage:
            self._stage, self._started = stage, present
        if new or done >= total or present - self._said >= LINE_SECONDS:
            self._said = present
            self._say(stage, done / total if total else 1.0, present - self._started)
