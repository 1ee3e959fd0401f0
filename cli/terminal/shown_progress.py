"""How far a long command is, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LINE_SECONDS = 5.0
_BAR_SECONDS = 0.2
_BAR_WIDTH = 30


class ShownProgress:
    """An `editing.progress.Progress`. Use it as a context manager, so that a bar ends with its line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._bars = self._stream.isatty()
        self._stage = ""
        self._started = self._shown = 0.0

    def __enter__(self) -> ShownProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars and self._stage:
            self._stream.write("\n")

    def __call__(self, stage: str, done: float, total: float) -> None:
        present = time.monotonic()
        if new := stage != self._stage:
            if self._bars and self._stage:
                self._stream.write("\n")
            self._stage, self._started = stage, present
        if new or done >= total or present - self._shown >= (_BAR_SECONDS if self._bars else LINE_SECONDS):
            self._shown = present
            self._show(done / total if total else 1.0, present - self._started)

    def _show(self, share: float, elapsed: float) -> None:
        left = f", about {elapsed * (1 - share) / share:.0f} s left" if 0 < share < 1 and elapsed > 1 else ""
        if self._bars:
            full = round(share * _BAR_WIDTH)
            self._stream.write(f"\r{self._stage:>16} [{'#' * full:{_BAR_WIDTH}}] {share:4.0%}{left:24}")
        else:
            self._stream.write(f"{self._stage}: {share:.0%}{left}\n")
        self._stream.flush()
