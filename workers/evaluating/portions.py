"""Work in portions: how much one has, and when it gives way to what waits.

An evaluation of thousands of facts takes minutes, and batches are edited meanwhile. It is kept portion by portion, and
between two of them whatever waits for a worker of the model gets its turn. What a batch needs in order to begin and to
end does not wait for the end of a long portion either: that one is given up, and done again later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from configuration.redis.keys import control_queue, solve_queue
from editing.errors import EditInterrupted
from workers.tasks.lease import Lease

AIM_SECONDS: Final = 2.0
"""A portion shall take about so long."""
PATIENCE_SECONDS: Final = 2.5
"""After so long a portion is given up where a batch waits to be planned, solved or published."""
MOST_GIVEN_UP: Final = 5
"""So often one and the same portion is given up: then it runs to its end, whatever waits."""
LOOK_SECONDS: Final = 0.5
MOST: Final = 512
_MOST_CHANGE: Final = 4

log = structlog.get_logger(__name__)


class Pace:
    """The size of the next portion, from the time that those before it took; at least `least`."""

    def __init__(self, least: int = 1, first: int = 4) -> None:
        self._least = least
        self.size = max(first, least)

    def took(self, size: int, seconds: float) -> None:
        """A portion of `size` took so long. One that was cut short, being the last, says little of larger ones."""
        if size == self.size:
            change = min(max(AIM_SECONDS / max(seconds, 1e-3), 1 / _MOST_CHANGE), _MOST_CHANGE)
            self.size = min(max(int(size * change), self._least), MOST)


@dataclass
class Patience:
    """A `ShouldStop` for one portion: asks the lease, and gives the portion up for the urgent after a while."""

    lease: Lease
    given_up: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began = self._looked = self.clock()
        model = self.lease.task.model
        self._urgent = (control_queue(model), solve_queue(model))

    def __call__(self) -> bool:
        present = self.clock()
        is_due = present - self._began >= PATIENCE_SECONDS and present - self._looked >= LOOK_SECONDS
        if is_due and self.given_up < MOST_GIVEN_UP:
            self._looked = present
            try:
                self.lease.give_way(self._urgent)
            except EditInterrupted:
                log.info("a portion is given up: a batch waits", seconds=round(present - self._began, 2))
        return self.lease.should_stop()

    @property
    def seconds(self) -> float:
        """Since the portion began."""
        return self.clock() - self._began
