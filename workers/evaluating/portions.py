"""Work in portions: how much one has, and when it gives way to what waits.

An evaluation of thousands of facts takes minutes, and batches are edited meanwhile. Its portions are short; before each
of them, and within one at short intervals, it looks whether a task of a batch waits for a worker of the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from editing.errors import EditInterrupted
from workers.generation.traffic import Traffic
from workers.tasks.lease import Lease

AIM_SECONDS: Final = 0.25
"""A portion shall take about so long: longer ones are hardly any faster."""
SHORT_SECONDS: Final = 0.06
"""And about so long while others use the model: a batch's beginning waits for half of it."""
LOOK_SECONDS: Final = 0.05
"""So often a portion looks whether a batch waits."""
LONGEST_PAUSE_SECONDS: Final = 0.2
"""While completions are answered, a portion pauses: for as long as it has worked before, and no longer than this."""
MOST: Final = 512
_MOST_CHANGE: Final = 4

log = structlog.get_logger(__name__)


class Pace:
    """The size of the next portion, from the time that those before it took; at least `least`."""

    def __init__(self, least: int = 1, first: int = 1) -> None:
        self._least = least
        self.size = max(first, least)

    def took(self, size: int, seconds: float, aim: float = AIM_SECONDS) -> None:
        """A portion of `size` took so long, and the next one shall take `aim`. One that was cut short, being the last,
        says little of larger ones."""
        if size == self.size:
            change = min(max(aim / max(seconds, 1e-3), 1 / _MOST_CHANGE), _MOST_CHANGE)
            self.size = min(max(int(size * change), self._least), MOST)


@dataclass
class Patience:
    """A `ShouldStop` for one portion: lets completions pass, asks the lease, and gives the portion up where a batch
    waits, unless it `insists`."""

    lease: Lease
    traffic: Traffic
    insists: bool = False
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began = self._looked = self._resumed = self.clock()
        self._paused = 0.0

    def __call__(self) -> bool:
        self._let_completions_pass()
        present = self.clock()
        if not self.insists and present - self._looked >= LOOK_SECONDS:
            self._looked = present
            try:
                self.lease.give_way(to_batches=True)
            except EditInterrupted:
                log.debug("a portion is given up", reason=self.lease.reason, seconds=round(present - self._began, 2))
        return self.lease.should_stop()

    def _let_completions_pass(self) -> None:
        """Somebody waits for them, and both would take the same cores: an evaluation has half of the time at least."""
        present = self.clock()
        self.traffic.let_pass(min(present - self._resumed, LONGEST_PAUSE_SECONDS))
        self._resumed = self.clock()
        self._paused += self._resumed - present

    @property
    def seconds(self) -> float:
        """That the portion has worked."""
        return self.clock() - self._began - self._paused
