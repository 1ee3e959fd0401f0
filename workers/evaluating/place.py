"""Where an evaluation is: what its task keeps between portions, under which lease that is written, whose turn it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.orm import Session

from editing.errors import EditInterrupted
from store.schema.tables import TaskRow
from store.work import tasks
from workers.context import WorkerContext
from workers.evaluating.portions import AIM_SECONDS, SHORT_SECONDS, Patience
from workers.tasks.lease import Lease

KEEP_SECONDS: Final = 2.0
"""What was measured is written at least so often; a worker that dies loses no more."""
TURN_SECONDS: Final = 2.0
"""After so long other evaluations and exports get their turn, too: taking one up again costs a little each time."""
STARVED_SECONDS: Final = 60.0
"""An evaluation that could measure nothing for so long measures for a turn, whatever waits."""

ALONE_SECONDS: Final = 30.0
"""An evaluation that nothing has interrupted for so long has the model for itself."""

Write = Callable[[Session], None]


class Place:
    """The task's payload, and what was measured and is not written yet.

    In the payload `facts` are measured; `held_out` is what was read of the text; `since` is when something was measured
    last, in seconds since the epoch; `given_up` says how often the portion at hand was.
    """

    def __init__(self, context: WorkerContext, task: TaskRow, lease: Lease) -> None:
        self._database = context.database
        self._traffic = context.traffic
        self._seconds = context.settings.lease_seconds
        self._task, self._token = task.id, task.token
        self._lease = lease
        self.should_stop = lease.should_stop
        self._began = self._written = time.monotonic()
        self._unwritten: list[Write] = []
        self.kept: dict[str, Any] = dict(task.payload)
        self._insists = time.time() - float(self.kept.setdefault("since", time.time())) >= STARVED_SECONDS

    def give_way(self) -> None:
        """Raise EditInterrupted where a batch waits for a worker of the model, or after a turn anything else does.

        Before an attempt has loaded anything, too: a worker takes an evaluation between two stages of a batch, just
        because the next one is not in its queue yet.
        """
        had_a_turn = time.monotonic() - self._began >= TURN_SECONDS
        if had_a_turn:
            self._insists = False
        if not self._insists:
            self._lease.give_way(to_batches=not had_a_turn)

    @contextmanager
    def portion(self) -> Iterator[Patience]:
        """The next portion, after whatever it gives way to. Raises EditInterrupted where it is given up for that."""
        self.give_way()
        try:
            yield Patience(self._lease, self._traffic, self._insists)
        except EditInterrupted:
            if self._lease.reason == "yielding":
                self.kept["given_up"] = self._given_up + 1
            raise
        self.kept.pop("given_up", None)

    def cut(self, size: int) -> int:
        """A portion of `size`, or a smaller one where it was given up before: there is little time between batches."""
        return max(1, size >> min(self._given_up, 16))

    @property
    def aim(self) -> float:
        """How long the next portion shall take."""
        return AIM_SECONDS if time.monotonic() - self._began >= ALONE_SECONDS else SHORT_SECONDS

    def keep(self, write: Write) -> None:
        """Let `write` write what was measured: in one transaction with what follows soon, and with what is kept."""
        self.kept["since"] = time.time()
        self._unwritten.append(write)
        if time.monotonic() - self._written >= KEEP_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet, under the task's lease. Raises LeaseLostError."""
        with self._database.writing() as session:
            tasks.keep_place(session, self._task, self._token, self.kept, self._seconds)
            for write in self._unwritten:
                write(session)
        self._unwritten.clear()
        self._written = time.monotonic()

    @property
    def _given_up(self) -> int:
        return int(self.kept.get("given_up", 0))
