"""Every kind of task has a handler, and no handler is of none."""

from __future__ import annotations

from store.work.kinds import TASK_KINDS
from workers.jobs import HANDLERS


def test_every_kind_of_task_has_a_handler() -> None:
    assert set(HANDLERS) == set(TASK_KINDS)
