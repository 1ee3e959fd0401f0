"""What RQ's worker does beside running a task."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from cli.private_redis import PrivateRedis
from configuration.redis_keys import RELAY_WAKE
from workers.rq_worker import ModelWorker


@pytest.fixture
def server(redis_server: PrivateRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The worker takes the process's signals over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def work_off(server: redis.Redis, *jobs: str) -> None:
    queue = Queue("control:tiny", connection=server, serializer=JSONSerializer)
    for job in jobs:
        queue.enqueue_call(job, timeout=-1, result_ttl=0)
    worker = ModelWorker([queue], stopping=threading.Event(), connection=server, name="worker")
    worker.work(burst=True, logging_level="CRITICAL")
    assert queue.count == 0


@pytest.mark.parametrize("jobs", [("time.time",), ("time.time", "time.time", "time.time"), ("os.abc.no_such_thing",)])
def test_a_relay_is_woken_when_a_task_has_ended_however_it_ended(server: redis.Redis, jobs: tuple[str, ...]) -> None:
    """One entry, however many tasks: where no relay listens nothing piles up."""
    work_off(server, *jobs)
    assert server.llen(RELAY_WAKE) == 1
