"""Saying that something is waited for: once when it begins, then ever more rarely."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 15.0
LONGEST_SECONDS: Final = 600.0


class Reminders:
    """`due` is True for what is new, and for the same again after 15 s, 30 s more, 60 s more … at most ten minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._about: str | None = None
        self._pause = FIRST_SECONDS
        self._next = 0.0

    def due(self, about: str) -> bool:
        """Whether `about` is to be said now."""
        moment = self._clock()
        if about != self._about:
            self._about, self._pause = about, FIRST_SECONDS
        elif moment < self._next:
            return False
        else:
            self._pause = min(2 * self._pause, LONGEST_SECONDS)
        self._next = moment + self._pause
        return True
