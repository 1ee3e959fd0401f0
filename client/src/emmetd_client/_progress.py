"""How far a job is, while it is waited for: rich's bar where rich is installed, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

from emmetd_client.models.jobs import Progress

OnProgress = Callable[[Progress], None] | bool | None
"""A function that is called with each progress, or True: it is shown."""

_LINE_SECONDS: Final = 5.0


class ShownProgress:
    """Call it with each progress; use it as a context manager, so that a bar ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._stage = ""
        self._shown = 0.0

    def __enter__(self) -> ShownProgress:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar
        except ImportError:
            return self
        console = Console(file=self._stream)
        if console.is_terminal or console.is_jupyter:
            columns = (TextColumn("{task.description:>12}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, console=console)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(progress.stage, total=1.0)
            self._bar.update(self._task, description=progress.stage, completed=progress.share)
            return
        present = time.monotonic()
        if progress.stage != self._stage or present - self._shown >= _LINE_SECONDS:
            self._stage, self._shown = progress.stage, present
            left = "" if progress.eta_seconds is None else f", about {progress.eta_seconds:.0f} s left"
            self._stream.write(f"{progress.stage}: {progress.share:.0%}{left}\n")
            self._stream.flush()


class _Told:
    """A caller's own function, or none."""

    def __init__(self, function: Callable[[Progress], None] | None) -> None:
        self._function = function

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        if self._function is not None:
            self._function(progress)


def telling(on_progress: OnProgress) -> ShownProgress | _Told:
    if on_progress is True:
        return ShownProgress()
    return _Told(None if on_progress is False else on_progress)
