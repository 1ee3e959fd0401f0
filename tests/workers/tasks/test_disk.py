"""A task whose disk is full or away waits for it, for as long as it takes, and then goes on."""

from __future__ import annotations

import errno
import os

import pytest
import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.exc import OperationalError

from store.blobs.folder import FolderBlobStore
from store.errors import BlobStoreAwayError
from store.work import tasks
from tests.workers.conftest import Place
from workers import jobs
from workers.process import retrying
from workers.process.retrying import retry_until_available
from workers.status import StatusBoard


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "DISK_SECONDS", 0.0)


class Refusing(FolderBlobStore):
    """Refuses the next `times` writes."""

    error: Exception
    times = 0

    def put(self, content: bytes) -> str:
        if self.times:
            self.times -= 1
            raise self.error
        return super().put(content)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        BlobStoreAwayError("the folder of blobs is gone"),
    ],
    ids=["full", "read-only", "away"],
)
def test_a_batch_outlasts_a_disk_that_refuses(place: Place, error: Exception) -> None:
    blobs = Refusing(place.blobs.folder)
    place.worker(blobs=blobs)
    batch_id = place.accept()
    place.run_until("values")
    blobs.error, blobs.times = error, tasks.MOST_ATTEMPTS + 2

    done = place.run()

    assert blobs.times == 0
    assert place.batch(batch_id).state == "succeeded"
    assert done == ["values"] * (tasks.MOST_ATTEMPTS + 3) + ["solve"]
    assert [task.attempts for task in place.tasks_of(batch_id, "values")] == [1]
    assert place.versions() == [1]


def test_a_worker_that_waits_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(retrying, "log", log)
    status = StatusBoard(redis.Redis(port=1, retry=Retry(NoBackoff(), 0)), "worker", "tiny", "cpu")
    rounds = iter(range(100))

    def work() -> None:
        if next(rounds) < 99:
            raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    retry_until_available(status, work, wait=lambda _: None)
    assert [(call.method_name, call.args) for call in log.calls] == [("warning", ("the worker waits",))]


def test_a_worker_that_starts_while_the_database_and_its_disk_are_away_waits_for_them() -> None:
    status = StatusBoard(redis.Redis(port=1, retry=Retry(NoBackoff(), 0)), "worker", "tiny", "cpu")
    troubles: list[Exception] = [
        OperationalError("SELECT 1", {}, Exception("connection refused")),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        BlobStoreAwayError("the folder of blobs is gone"),
    ]
    told: list[str] = []

    def work() -> str:
        if troubles:
            raise troubles.pop(0)
        return "done"

    assert retry_until_available(status, work, wait=lambda _: told.append(status.text)) == "done"
    assert told == [
        "waiting: the database does not answer",
        "waiting: the disk is full; free some space",
        "waiting: the folder of blobs is gone",
    ]
    troubles.append(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    with pytest.raises(FileNotFoundError):
        retry_until_available(status, work, wait=lambda _: None)
