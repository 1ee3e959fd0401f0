"""What RQ's worker does beside running a task."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Callback, Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.keys import RELAY_WAKE, TASK_FUNCTION
from workers.ahead import Ahead
from workers.process.rq_worker import ModelWorker


@pytest.fixture
def server(redis_server: PrivateRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """The worker takes the process's signals over, and the level and handlers of RQ's log."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    log = logging.getLogger("rq.worker")
    level, handlers = log.level, log.handlers[:]
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    log.setLevel(level)
    log.handlers[:] = handlers


def work_off(server: redis.Redis, *jobs: str, ahead: Ahead | None = None, stopping: bool = False) -> None:
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    for job in jobs:
        queue.enqueue_call(job, timeout=-1, result_ttl=0)
    stop = threading.Event()
    if stopping:
        stop.set()
    worker = ModelWorker([queue], stopping=stop, ahead=ahead, connection=server, name="worker")
    worker.work(burst=True, logging_level="CRITICAL")
    assert queue.count == 0


@pytest.mark.parametrize("jobs", [("time.time",), ("time.time", "time.time", "time.time"), ("os.abc.no_such_thing",)])
def test_a_relay_is_woken_when_a_task_has_ended_however_it_ended(server: redis.Redis, jobs: tuple[str, ...]) -> None:
    """One entry, however many tasks: where no relay listens nothing piles up."""
    work_off(server, *jobs)
    assert server.llen(RELAY_WAKE) == 1


def enqueued(server: redis.Redis, path: Path, **job: Any) -> None:
    """A job that would make a folder at `path`, in one way or another, and is worked off."""
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    queue.enqueue_call(timeout=-1, result_ttl=0, **job)
    work_off(server)
    assert not path.exists()


def test_no_function_but_a_task_is_run(server: redis.Redis, tmp_path: Path) -> None:
    made = tmp_path / "made"
    enqueued(server, made, func="os.mkdir", args=(str(made),))
    enqueued(server, made, func="os.mkdir", kwargs={"path": str(made)})


@pytest.mark.parametrize(
    "arguments", [{}, {"args": ("a", "b")}, {"args": (1,)}, {"kwargs": {"task_id": "a"}}, {"args": (["a"],)}]
)
def test_a_task_is_an_id(server: redis.Redis, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]) -> None:
    ran: list[Any] = []
    monkeypatch.setattr("workers.jobs.run", lambda *args, **named: ran.append(args))
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    queue.enqueue_call(TASK_FUNCTION, timeout=-1, **arguments)
    queue.enqueue_call(TASK_FUNCTION, timeout=-1, args=("task_1",))
    work_off(server)
    assert ran == [("task_1",)]


def made_by_callback(job: Job, *rest: object) -> None:
    Path(job.id).mkdir()


@pytest.mark.parametrize("func", [TASK_FUNCTION, "time.time"])
def test_no_callback_of_a_job_is_run(
    server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, func: str
) -> None:
    monkeypatch.setattr("workers.jobs.run", lambda task_id: None)
    callback = Callback(f"{__name__}.made_by_callback")
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    monkeypatch.chdir(tmp_path)
    queue.enqueue_call(func, ("a",), job_id="made", on_success=callback, on_failure=callback)
    work_off(server)
    assert not (tmp_path / "made").exists()


def test_the_callback_of_a_job_whose_worker_was_lost_is_not_run(
    server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    callback = Callback(f"{__name__}.made_by_callback")
    job = queue.enqueue_call(TASK_FUNCTION, ("a",), job_id="made", on_failure=callback)
    server.lrem(queue.key, 0, job.id)
    job.set_status(JobStatus.STARTED)
    server.zadd(queue.started_job_registry.key, {f"{job.id}:execution": 1})
    work_off(server)
    assert job.get_status() == JobStatus.FAILED
    assert not (tmp_path / "made").exists()


class Pickled:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_read_as_pickle(server: redis.Redis, tmp_path: Path) -> None:
    made = tmp_path / "made"
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    job = queue.enqueue_call(TASK_FUNCTION, ("a",), timeout=-1)
    work_off(server)
    for field in ("data", "meta", "result"):
        server.hset(job.key, field, pickle.dumps(Pickled(made)))
        with suppress(Exception):
            Job.fetch(job.id, server).args  # noqa: B018 - as RQ does where it forgets the serializer
    assert not made.exists()


def test_what_is_ahead_is_done_once_no_task_waits(server: redis.Redis) -> None:
    ahead, tasks_before = Ahead(), list[int]()
    for _ in range(2):
        ahead.add("piece", lambda: tasks_before.append(server.llen("rq:queue:control:tiny") + server.llen(RELAY_WAKE)))
    work_off(server, "time.time", ahead=ahead)
    assert tasks_before == [1, 1]  # no task, and one entry of the task that has ended
    ahead.add("piece", lambda: tasks_before.append(0))
    work_off(server, ahead=ahead, stopping=True)
    assert len(tasks_before) == 2
