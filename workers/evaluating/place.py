"""Where an evaluation is: what its task keeps between two portions, and under which lease it is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from editing.errors import EditInterrupted
from store.schema.tables import TaskRow
from store.work import tasks
from workers.context import WorkerContext
from workers.evaluating.portions import Patience
from workers.tasks.lease import Lease


class Place:
    """The task's payload: `held_out`, what was read of the text, and `given_up`, how often the portion at hand was."""

    def __init__(self, context: WorkerContext, task: TaskRow) -> None:
        self._database = context.database
        self._seconds = context.settings.lease_seconds
        self._task, self._token = task.id, task.token
        self._has_measured = False
        self.kept: dict[str, Any] = dict(task.payload)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction under the task's lease, with what is kept. Raises LeaseLostError."""
        with self._database.writing() as session:
            tasks.keep_place(session, self._task, self._token, self.kept, self._seconds)
            yield session

    @contextmanager
    def portion(self, lease: Lease) -> Iterator[Patience]:
        """The next portion, after whatever waits: but for the first one here, so that every attempt gets further.

        Where it is given up for a batch, it is kept how often that was done.
        """
        if self._has_measured:
            lease.give_way()
        given_up = int(self.kept.get("given_up", 0))
        patience = Patience(lease, given_up)
        try:
            yield patience
        except EditInterrupted:
            if lease.reason == "yielding":
                self.kept["given_up"] = given_up + 1
                with self.writing():
                    pass
            raise
        self._has_measured = True
        self.kept.pop("given_up", None)
