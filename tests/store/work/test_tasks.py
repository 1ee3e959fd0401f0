"""Leases with fencing tokens: one worker at a time, and a zombie cannot commit."""

from __future__ import annotations

import pytest

from store.errors import LeaseLostError
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.work import batches, lines, tasks
from tests.store.conftest import Accept

OVER = -1.0
"""A lease of this many seconds is over at once."""


@pytest.fixture
def task(database: Database, accept: Accept) -> TaskRow:
    with database.writing() as session:
        batch = accept(session)
        lines.advance(session)
        return tasks.of_batch(session, batch.id, "plan")[0]


def test_only_one_worker_holds_a_task(database: Database, task: TaskRow) -> None:
    with database.writing() as session:
        held = tasks.acquire(session, task.id, "a", 60)
        assert held is not None
        assert held.token == 1
        assert tasks.acquire(session, task.id, "b", 60) is None
        tasks.complete(session, task.id, held.token, {"x": 1})
        assert tasks.acquire(session, task.id, "b", 60) is None


def test_a_zombie_cannot_renew_or_commit(database: Database, task: TaskRow) -> None:
    with database.writing() as session:
        first = tasks.acquire(session, task.id, "zombie", OVER)
        assert first is not None
        zombie = first.token
        second = tasks.acquire(session, task.id, "heir", 60)
        assert second is not None
        assert second.token == zombie + 1
        with pytest.raises(LeaseLostError):
            tasks.renew(session, task.id, zombie, 60)
        with pytest.raises(LeaseLostError):
            tasks.complete(session, task.id, zombie)
        tasks.complete(session, task.id, second.token)


def test_what_a_dead_worker_held_goes_back_to_the_outbox(database: Database, task: TaskRow) -> None:
    with database.writing() as session:
        tasks.mark_enqueued(session, [task.id])
        assert tasks.to_enqueue(session) == []
        tasks.acquire(session, task.id, "dead", OVER)
    with database.writing() as session:
        (lost,) = tasks.expired(session)
        tasks.release(session, lost)
    with database.reading() as session:
        (again,) = tasks.to_enqueue(session)
        assert (again.id, again.attempts, again.token) == (task.id, 1, 1)


def test_what_redis_forgot_is_enqueued_again_but_not_what_runs(database: Database, task: TaskRow) -> None:
    with database.writing() as session:
        tasks.mark_enqueued(session, [task.id])
        assert [row.id for row in tasks.enqueued_long_ago(session, -1)] == [task.id]
        tasks.mark_forgotten(session, [task.id])
        assert [row.id for row in tasks.to_enqueue(session)] == [task.id]
        tasks.acquire(session, task.id, "a", 60)
        tasks.mark_enqueued(session, [task.id])
        tasks.mark_forgotten(session, [task.id])
    with database.reading() as session:
        assert tasks.to_enqueue(session) == []


def test_a_withdrawn_task_is_never_taken(database: Database, task: TaskRow) -> None:
    assert task.batch_id is not None
    with database.writing() as session:
        held = tasks.acquire(session, task.id, "a", 60)
        assert held is not None
        tasks.withdraw(session, batches.get(session, task.batch_id))
        with pytest.raises(LeaseLostError):
            tasks.complete(session, task.id, held.token)
        assert tasks.acquire(session, task.id, "b", 60) is None


def test_tasks_of_a_batch_stand_in_its_trace_and_remember_the_attempt_that_holds_them(
    database: Database, accept: Accept
) -> None:
    place, attempt = f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'c' * 16}-01"
    with database.writing() as session:
        batch = accept(session)
        batch.traceparent = place
        lines.advance(session)
        (task,) = tasks.of_batch(session, batch.id, "plan")
        zombie = tasks.acquire(session, task.id, "zombie", OVER)
        assert zombie is not None
        old = zombie.token
    with database.writing() as session:
        heir = tasks.acquire(session, task.id, "heir", 60)
        assert heir is not None
        tasks.remember_attempt(session, task.id, heir.token, attempt)
        tasks.remember_attempt(session, task.id, old, place)
    with database.reading() as session:
        found = tasks.get(session, task.id)
        assert found is not None
        assert (found.traceparent, found.attempt_traceparent) == (place, attempt)
