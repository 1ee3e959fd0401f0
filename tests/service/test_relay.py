"""What SQL says shall run reaches the queue, whatever Redis forgets and whoever dies."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import update

from api_schemas.references import ModelReference
from cli.supervision.private_redis import PrivateRedis, prepare_private_redis
from cli.supervision.tethered import tethered
from configuration.redis.keys import RELAY_WAKE, TASK_FUNCTION
from service.relay import FORGOTTEN_SECONDS, Relay, job_id
from store.clock import now
from store.errors import LeaseLostError
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.work import batches, evaluations, lifecycle, tasks
from store.work.batches import NewBatch
from store.work.kinds import EVALUATION
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, wait_until

pytestmark = BOTH_DATABASES

CONTROL = f"control:{MODEL}"
VALUES = f"values:{MODEL}"


@pytest.fixture
def queue_redis(redis_server: PrivateRedis) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def relay(database: Database, queue_redis: Redis, unknown_model: str) -> Relay:
    return Relay(database, queue_redis)


def accept(database: Database, count: int = 1, **fields: Any) -> list[str]:
    reference = fields.pop("reference", ModelReference(MODEL, alias="latest"))
    new = NewBatch(reference, "emmet", fields.pop("settings", {}), {}, [fact()], **fields)
    with database.writing() as session:
        return [batches.accept(session, new, most_queued=1000)[0].id for _ in range(count)]


def evaluate(database: Database) -> str:
    with database.writing() as session:
        row = evaluations.create(session, model=MODEL, version=0, compare_with=None, metrics=["ES"], facts=[fact()])
        return row.id


def evaluate_often(database: Database, count: int) -> None:
    """`count` tasks in the queue of evaluations."""
    with database.writing() as session:
        row = evaluations.create(session, model=MODEL, version=0, compare_with=None, metrics=["ES"], facts=[fact()])
        for _ in range(count - 1):
            tasks.create(session, of=row, kind="evaluate")


def tasks_of(database: Database, edit_id: str, kind: str = "plan") -> list[TaskRow]:
    with database.reading() as session:
        return tasks.of_batch(session, edit_id, kind)


def queued(redis: Redis, name: str = CONTROL) -> list[str]:
    return Queue(name, connection=redis, serializer=JSONSerializer).get_job_ids()


def make_late(database: Database) -> None:
    """As if what was handed to Redis had been handed to it long ago."""
    with database.writing() as session:
        long_ago = now() - timedelta(seconds=FORGOTTEN_SECONDS + 1)
        session.execute(update(TaskRow).where(TaskRow.enqueued_at.is_not(None)).values(enqueued_at=long_ago))


def test_a_batch_becomes_a_job_that_carries_an_id_as_json(relay: Relay, database: Database, queue_redis: Redis) -> None:
    (edit,) = accept(database)

    relay.round()

    (task,) = tasks_of(database, edit)
    assert queued(queue_redis) == [job_id(task.id, 0)]
    job = Job.fetch(job_id(task.id, 0), connection=queue_redis, serializer=JSONSerializer)
    assert (job.func_name, list(job.args), job.kwargs) == (TASK_FUNCTION, [task.id], {})
    assert (job.timeout, job.result_ttl) == (-1, 0)
    assert task.enqueued_at is not None
    with database.reading() as session:
        assert batches.get(session, edit).state == "planning"


def test_a_line_runs_one_batch_at_a_time_and_branches_run_beside_it(
    relay: Relay, database: Database, queue_redis: Redis
) -> None:
    accept(database, 3)
    accept(database, 2, reference=ModelReference(MODEL, version=0))

    relay.round()
    relay.round()

    assert len(queued(queue_redis)) == 3


def test_what_is_urgent_goes_before_the_shards_that_wait(relay: Relay, database: Database, queue_redis: Redis) -> None:
    shards = {}
    for urgent in (False, True):
        (edit,) = accept(database, urgent=urgent, settings={"layers": [1]})
        relay.round()
        with database.writing() as session:
            batch = batches.get(session, edit)
            batches.set_state(session, batch, "optimising")
            shards[urgent] = [tasks.create(session, of=batch, kind="values", shard=number).id for number in range(2)]
        relay.round()

    waiting = [name.rpartition("-")[0] for name in queued(queue_redis, VALUES)]
    assert (set(waiting[:2]), waiting[2:]) == (set(shards[True]), shards[False])


def test_an_evaluation_goes_to_its_queue(relay: Relay, database: Database, queue_redis: Redis) -> None:
    evaluate(database)

    relay.round()

    assert len(queued(queue_redis, f"evaluate:{MODEL}")) == 1


def test_two_relays_at_once_do_no_harm(relay: Relay, database: Database, queue_redis: Redis) -> None:
    accept(database, 20, reference=ModelReference(MODEL, version=0))
    rounds = [threading.Thread(target=Relay(database, queue_redis).round) for _ in range(6)]
    for one in rounds:
        one.start()
    for one in rounds:
        one.join()

    jobs = queued(queue_redis)
    assert len(set(jobs)) == 20
    with database.writing() as session:
        taken = [tasks.acquire(session, job.rpartition("-")[0], "worker", 60) for job in jobs]
    assert sum(one is not None for one in taken) == 20


@pytest.mark.parametrize("loss", ["redis forgot everything", "a worker took the job and died before it began"])
def test_a_lost_job_is_enqueued_again(relay: Relay, database: Database, queue_redis: Redis, loss: str) -> None:
    (edit,) = accept(database)
    relay.round()
    (task,) = tasks_of(database, edit)
    if loss == "redis forgot everything":
        queue_redis.flushall()
    else:
        queue_redis.lpop(f"rq:queue:{CONTROL}")
    make_late(database)

    Relay(database, queue_redis).round()

    assert queued(queue_redis) == [job_id(task.id, 0)]


def test_a_job_that_still_waits_is_left_alone(relay: Relay, database: Database, queue_redis: Redis) -> None:
    (edit,) = accept(database)
    relay.round()
    make_late(database)
    (before,) = tasks_of(database, edit)

    Relay(database, queue_redis).round()

    assert len(queued(queue_redis)) == 1
    assert tasks_of(database, edit)[0].enqueued_at == before.enqueued_at


def test_what_was_lost_is_found_behind_any_number_of_jobs_that_wait(
    relay: Relay, database: Database, queue_redis: Redis
) -> None:
    evaluate_often(database, 1300)
    for _ in range(3):  # they are handed on by the hundred
        relay.round()
    (edit,) = accept(database)
    relay.round()
    (task,) = tasks_of(database, edit)
    assert queued(queue_redis) == [job_id(task.id, 0)]
    queue_redis.lpop(f"rq:queue:{CONTROL}")
    make_late(database)

    Relay(database, queue_redis).round()

    assert queued(queue_redis) == [job_id(task.id, 0)]
    assert len(queued(queue_redis, f"evaluate:{MODEL}")) == 1300


def test_everything_that_redis_lost_is_enqueued_again(relay: Relay, database: Database, queue_redis: Redis) -> None:
    evaluate_often(database, 1300)
    for _ in range(3):
        relay.round()
    queue_redis.flushall()
    make_late(database)

    heir = Relay(database, queue_redis)
    for _ in range(3):
        heir.round()

    assert len(queued(queue_redis, f"evaluate:{MODEL}")) == 1300


def test_a_dead_workers_task_is_handed_on(relay: Relay, database: Database, queue_redis: Redis) -> None:
    (edit,) = accept(database)
    relay.round()
    (task,) = tasks_of(database, edit)
    with database.writing() as session:
        tasks.acquire(session, task.id, "dead", lease_seconds=-1)
    queue_redis.flushall()

    Relay(database, queue_redis).round()

    assert queued(queue_redis) == [job_id(task.id, 1)]
    with database.writing() as session, pytest.raises(LeaseLostError):
        tasks.complete(session, task.id, 1)


def test_a_batch_that_was_to_stop_and_whose_worker_died_ends_and_the_next_one_starts(
    relay: Relay, database: Database, queue_redis: Redis
) -> None:
    edit, following = accept(database, 2)
    relay.round()
    (task,) = tasks_of(database, edit)
    with database.writing() as session:
        held = tasks.acquire(session, task.id, "dying", lease_seconds=60)
        assert held is not None
        lifecycle.cancel(session, batches.get(session, edit))
        held.lease_expires_at = now() - timedelta(seconds=1)

    Relay(database, queue_redis).round()

    with database.reading() as session:
        states = [batches.get(session, one).state for one in (edit, following)]
    assert states == ["cancelled", "planning"]
    assert tasks_of(database, edit)[0].state == "withdrawn"


def lose_again_and_again(database: Database, task_id: str) -> None:
    with database.writing() as session:
        for _ in range(tasks.MOST_ATTEMPTS):
            assert tasks.acquire(session, task_id, "dead", lease_seconds=-1) is not None


def test_a_batch_whose_workers_die_again_and_again_fails(relay: Relay, database: Database, queue_redis: Redis) -> None:
    (edit,) = accept(database)
    relay.round()
    (task,) = tasks_of(database, edit)
    lose_again_and_again(database, task.id)

    Relay(database, queue_redis).round()

    with database.reading() as session:
        row = batches.get(session, edit)
        assert row.error is not None
        assert (row.state, row.error["code"]) == ("failed", "worker_lost")
        assert "5 workers in a row" in row.error["detail"]
    assert tasks_of(database, edit)[0].state == "withdrawn"
    with database.writing() as session, pytest.raises(LeaseLostError):
        tasks.complete(session, task.id, tasks.MOST_ATTEMPTS)


def test_so_does_an_evaluation(relay: Relay, database: Database, queue_redis: Redis) -> None:
    evaluation = evaluate(database)
    with database.reading() as session:
        (task,) = tasks.to_enqueue(session)
    lose_again_and_again(database, task.id)

    relay.round()

    with database.reading() as session:
        row = lifecycle.get(session, EVALUATION, evaluation)
        assert row.error is not None
        assert (row.state, row.error["code"]) == ("failed", "worker_lost")


def test_the_relay_outlives_redis(database: Database, unknown_model: str, tmp_path: Path) -> None:
    server = prepare_private_redis(tmp_path / "redis")
    with Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client:
        relay = Relay(database, client)
        relay.start()
        try:
            (edit,) = accept(database)
            while not tasks_of(database, edit):
                time.sleep(0.01)
            process = subprocess.Popen(tethered(server.command), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            try:
                asyncio.run(server.answers())
                while not queued(client):
                    time.sleep(0.01)
                assert relay.is_alive()
            finally:
                process.terminate()
                process.wait()
        finally:
            relay.stop()
        assert not relay.is_alive()


def test_a_relay_is_woken_by_a_worker_through_redis(
    relay: Relay, database: Database, queue_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.relay.INTERVAL_SECONDS", 600)
    relay.start()
    try:
        wait_until(lambda: relay._swept_at > 0, "its first look")
        time.sleep(0.1)
        accept(database)

        queue_redis.lpush(RELAY_WAKE, 1)

        wait_until(lambda: queued(queue_redis), "the job")
        assert not queue_redis.exists(RELAY_WAKE)
    finally:
        relay.stop()


def test_a_submitted_batch_is_in_the_queue_at_once(api: Api, queue_redis: Redis) -> None:
    api.edit()

    while not queued(queue_redis):
        time.sleep(0.005)
