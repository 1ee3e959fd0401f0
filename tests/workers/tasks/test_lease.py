"""A lease is renewed while its task runs, and tells between two steps that the task must stop."""

from __future__ import annotations

import threading

import pytest

from store.clock import now
from store.schema.tables import TaskRow
from store.work import batches, lifecycle, statistics, tasks
from store.work.kinds import STATISTIC
from tests.conftest import BOTH_DATABASES
from tests.workers.conftest import MODEL, Place, wait_until
from workers.tasks.lease import Lease

pytestmark = BOTH_DATABASES

SECONDS = 2.0


@pytest.fixture
def task(place: Place) -> TaskRow:
    """Held by this worker."""
    place.accept()
    (waiting,) = place.ready()
    with place.database.writing() as session:
        held = tasks.acquire(session, waiting.id, "worker", SECONDS)
    assert held is not None
    return held


def lease(place: Place, task: TaskRow, stopping: threading.Event | None = None) -> Lease:
    return Lease(place.database, task, SECONDS, stopping or threading.Event())


def test_it_is_renewed_for_as_long_as_the_task_runs(place: Place, task: TaskRow) -> None:
    first = task.lease_expires_at
    assert first is not None
    with lease(place, task) as held:
        wait_until(lambda: now() > first, "the first lease would be over")
        assert not held.should_stop()
        expires = place.task(task.id).lease_expires_at
        assert expires is not None
        assert expires > first
    last = place.task(task.id).lease_expires_at
    assert last is not None
    wait_until(lambda: now() > last, "the lease is over")
    with place.database.reading() as session:
        assert [row.id for row in tasks.expired(session)] == [task.id]


def test_it_hears_a_cancel(place: Place, task: TaskRow) -> None:
    with lease(place, task) as held:
        assert not held.should_stop()
        with place.database.writing() as session:
            assert task.batch_id is not None
            lifecycle.cancel(session, batches.get(session, task.batch_id))
        wait_until(held.should_stop, "the cancel is heard")
    assert held.reason == "cancelled"


@pytest.fixture
def statistic(place: Place) -> TaskRow:
    """Held by this worker, and nothing else waits."""
    with place.database.writing() as session:
        statistics.create(session, model=MODEL, layers=[1], corpus="self", tokens=1000)
        (waiting,) = tasks.to_enqueue(session)
        held = tasks.acquire(session, waiting.id, "worker", SECONDS)
    assert held is not None
    return held


def test_a_statistic_makes_way_for_an_edit_but_not_for_another_statistic(place: Place, statistic: TaskRow) -> None:
    with place.database.writing() as session:
        statistics.create(session, model=MODEL, layers=[2], corpus="self", tokens=1000)
    with lease(place, statistic) as held:
        assert not held.should_stop()
        place.accept()
        place.ready()
        wait_until(held.should_stop, "the edit is noticed")
    assert held.reason == "yielding"


def test_an_edit_makes_way_for_nothing(place: Place, task: TaskRow) -> None:
    with place.database.writing() as session:
        statistics.create(session, model=MODEL, layers=[2], corpus="self", tokens=1000)
    with lease(place, task) as held:
        renewed = place.task(task.id).lease_expires_at
        wait_until(lambda: place.task(task.id).lease_expires_at != renewed, "it looks again")
        assert not held.should_stop()


def test_a_cancelled_statistic_is_held_no_longer(place: Place, statistic: TaskRow) -> None:
    with lease(place, statistic) as held:
        with place.database.writing() as session:
            assert statistic.statistic_id is not None
            lifecycle.cancel(session, lifecycle.get(session, STATISTIC, statistic.statistic_id))
        wait_until(held.should_stop, "the cancel is heard")
    assert held.reason == "lost"


def test_it_knows_of_an_earlier_cancel_at_once(place: Place, task: TaskRow) -> None:
    with place.database.writing() as session:
        assert task.batch_id is not None
        lifecycle.cancel(session, batches.get(session, task.batch_id))
    with lease(place, task) as held:
        assert held.should_stop()


def test_it_hears_that_another_worker_took_over(place: Place, task: TaskRow) -> None:
    with lease(place, task) as held:
        with place.database.writing() as session:
            row = session.get(TaskRow, task.id)
            assert row is not None
            row.token += 1
        wait_until(held.should_stop, "the loss is heard")
    assert held.reason == "lost"


def test_it_hears_that_the_worker_stops(place: Place, task: TaskRow) -> None:
    stopping = threading.Event()
    with lease(place, task, stopping) as held:
        assert not held.should_stop()
        stopping.set()
        assert held.should_stop()
    assert held.reason == "stopping"
