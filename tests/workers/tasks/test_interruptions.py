"""What happens to a batch when its work is interrupted: cancelled, given back, taken over, or met by an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import torch
from sqlalchemy.exc import OperationalError

from store.clock import now
from store.schema.tables import TaskRow
from store.work import batches, lifecycle, tasks
from tests.conftest import BOTH_DATABASES
from tests.support.saved_models import facts
from tests.workers.conftest import LONG, During, Place, wait_until
from workers import jobs
from workers.context import WorkerContext

pytestmark = BOTH_DATABASES


@pytest.fixture
def place(place_of: Callable[..., Place]) -> Place:
    """With leases so short that their holder soon hears what it should."""
    return place_of(lease_seconds=1)


@contextmanager
def running(task: TaskRow) -> Iterator[threading.Thread]:
    """The task runs in a thread, as a job of the current worker."""
    thread = threading.Thread(target=jobs.run, args=(task.id,))
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def long_batch(place: Place) -> tuple[str, TaskRow]:
    """A batch and the shard of it that is to be optimised next, for longer than anybody waits."""
    batch_id = place.accept(facts(24), settings={**LONG, "contexts": 16})
    return batch_id, place.run_until("values")


def optimising(place: Place, batch_id: str) -> Callable[[], bool]:
    return lambda: (
        place.batch(batch_id).progress["stage"] == "optimising" and place.batch(batch_id).progress["done"] > 0
    )


def cancel(place: Place, batch_id: str) -> None:
    with place.database.writing() as session:
        lifecycle.cancel(session, batches.get(session, batch_id))


def lose_lease(place: Place, task: TaskRow) -> None:
    """As if its worker had been silent for too long."""
    with place.database.writing() as session:
        row = session.get(TaskRow, task.id)
        assert row is not None
        row.lease_expires_at = now() - timedelta(seconds=1)


def test_a_cancelled_batch_stops_between_two_steps(place: Place) -> None:
    batch_id, shard = long_batch(place)

    with running(shard):
        wait_until(optimising(place, batch_id), "the optimisation")
        cancel(place, batch_id)

    batch = place.batch(batch_id)
    assert (batch.state, batch.version, place.run()) == ("cancelled", None, [])
    assert batch.error is not None
    assert batch.error["code"] == "cancelled"
    assert place.edit(facts(2)).version == 1


@pytest.mark.parametrize("kind", ["plan", "values", "solve"])
def test_a_cancelled_batch_does_not_begin_its_next_task(place: Place, kind: str) -> None:
    batch_id = place.accept(facts(2))
    task = place.run_until(kind)
    cancel(place, batch_id)

    jobs.run(task.id)

    assert (place.batch(batch_id).state, place.versions(), place.run()) == ("cancelled", [], [])


def test_a_batch_that_is_cancelled_while_it_is_checked_is_not_published(place: Place) -> None:
    batch_id = place.accept(facts(2))
    task = place.run_until("solve")
    place.worker(measuring=During(place.loaded, lambda: None, lambda: cancel(place, batch_id)))

    jobs.run(task.id)

    assert (place.batch(batch_id).state, place.versions()) == ("cancelled", [])


def test_a_worker_that_stops_gives_its_task_back_and_another_ends_it(place: Place) -> None:
    stopping = place.worker("stopping")
    batch_id, shard = long_batch(place)
    with running(shard):
        wait_until(optimising(place, batch_id), "the optimisation")
        stopping.stopping.set()
    task = place.task(shard.id)
    assert (task.state, task.owner, task.enqueued_at) == ("pending", None, None)
    assert place.batch(batch_id).state == "optimising"
    set_settings(place, batch_id, steps=3)

    place.worker("heir")
    place.run()

    assert place.batch(batch_id).state in ("succeeded", "rejected")
    assert [task.state for task in place.tasks_of(batch_id, "values")] == ["done"] * len(
        place.tasks_of(batch_id, "values")
    )


def test_stopping_again_and_again_does_not_use_up_a_tasks_attempts(place: Place) -> None:
    batch_id = place.accept(facts(2))
    task = place.run_until("values")
    for number in range(tasks.MOST_ATTEMPTS):
        place.worker(f"worker {number}").stopping.set()
        jobs.run(task.id)
        assert place.task(task.id).state == "pending"
    assert place.task(task.id).attempts == 0

    place.worker("last")
    place.run()

    assert place.batch(batch_id).version == 1


def test_a_worker_whose_lease_was_lost_stops_and_leaves_the_batch_alone(place: Place) -> None:
    zombie = place.worker("zombie")
    batch_id, shard = long_batch(place)
    with running(shard):
        wait_until(optimising(place, batch_id), "the optimisation")
        with place.database.writing() as session:
            row = session.get(TaskRow, shard.id)
            assert row is not None
            row.token += 1
            row.owner = "heir"

    assert not zombie.stopping.is_set()
    task = place.task(shard.id)
    assert (task.state, task.owner, task.result) == ("running", "heir", None)
    assert (place.batch(batch_id).state, place.batch(batch_id).error) == ("optimising", None)


def test_a_zombie_cannot_publish_what_another_worker_published(place_of: Callable[..., Place]) -> None:
    place = place_of(lease_seconds=600)
    batch_id = place.accept(facts(3))
    task = place.run_until("solve")

    def overtaken() -> None:
        lose_lease(place, task)
        place.worker("heir")
        jobs.run(task.id)

    zombie = place.worker("zombie", measuring=During(place.loaded, lambda: None, overtaken))
    jobs.run(task.id)

    assert (place.versions(), place.batch(batch_id).version, place.latest()) == ([1], 1, 1)
    assert (place.batch(batch_id).state, place.task(task.id).attempts) == ("succeeded", 2)
    assert torch.equal(zombie.matrices.get(1)[1], place.cache().get(1)[1])


def test_a_zombie_cannot_publish_what_was_cancelled_without_it(place_of: Callable[..., Place]) -> None:
    place = place_of(lease_seconds=600)
    batch_id = place.accept(facts(2))
    task = place.run_until("solve")

    def thought_dead() -> None:
        lose_lease(place, task)
        cancel(place, batch_id)
        assert place.batch(batch_id).state == "cancelled"

    place.worker("zombie", measuring=During(place.loaded, lambda: None, thought_dead))
    jobs.run(task.id)

    assert (place.batch(batch_id).state, place.versions(), place.task(task.id).state) == ("cancelled", [], "withdrawn")
    assert place.edit(facts(2)).version == 1


def test_a_zombie_cannot_put_its_error_on_a_batch_that_goes_on(place_of: Callable[..., Place]) -> None:
    place = place_of(lease_seconds=600)
    batch_id = place.accept(facts(2))
    task = place.run_until("solve")

    def overtaken() -> None:
        lose_lease(place, task)
        place.worker("heir")
        jobs.run(task.id)
        raise RuntimeError("too late")

    place.worker("zombie", measuring=During(place.loaded, lambda: None, overtaken))
    jobs.run(task.id)

    batch = place.batch(batch_id)
    assert (batch.state, batch.version, batch.error) == ("succeeded", 1, None)


def always(error: BaseException) -> Callable[[], None]:
    def _raise() -> None:
        raise error

    return _raise


def failing(place: Place, error: BaseException, times: int) -> WorkerContext:
    return place.worker(measuring=During(place.loaded, *[always(error)] * times))


def test_an_error_that_nobody_foresaw_is_tried_once_more(place: Place) -> None:
    failing(place, RuntimeError("a passing cloud"), 1)
    batch = place.edit(facts(2))
    (solve,) = place.tasks_of(batch.id, "solve")
    assert (batch.state, batch.version, solve.attempts) == ("succeeded", 1, 2)


def test_an_error_that_comes_again_fails_the_batch_in_plain_words(place: Place) -> None:
    failing(place, RuntimeError("secret internals"), 2)
    batch = place.edit(facts(2))
    assert (batch.state, batch.version, place.versions()) == ("failed", None, [])
    assert batch.error == {
        "code": "internal",
        "title": "The worker failed",
        "detail": "RuntimeError; the worker's log says more",
        "facts": [],
    }
    assert place.edit(facts(2)).version == 1


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError("no room")])
def test_a_machine_that_refuses_is_asked_again_a_few_times(place: Place, error: BaseException) -> None:
    failing(place, error, tasks.MOST_ATTEMPTS)
    batch = place.edit(facts(2))
    (solve,) = place.tasks_of(batch.id, "solve")
    assert (batch.state, solve.attempts) == ("failed", tasks.MOST_ATTEMPTS)
    assert batch.error is not None
    assert batch.error["code"] == "machine"
    assert str(error) in batch.error["detail"]


def test_a_database_that_is_away_leaves_the_task_to_whoever_comes_next(place: Place) -> None:
    failing(place, OperationalError("BEGIN", {}, Exception("database is locked")), 1)
    batch_id = place.accept(facts(2))
    task = place.run_until("solve")
    jobs.run(task.id)
    assert (place.task(task.id).state, place.batch(batch_id).state) == ("running", "checking")

    lose_lease(place, task)
    with place.database.writing() as session:
        (lost,) = tasks.expired(session)
        tasks.release(session, lost)
    place.run()

    assert place.batch(batch_id).version == 1


def set_settings(place: Place, batch_id: str, **changed: int) -> None:
    with place.database.writing() as session:
        row = batches.get(session, batch_id)
        row.settings = {**row.settings, **changed}
