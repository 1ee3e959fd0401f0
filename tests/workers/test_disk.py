"""A task whose disk is full or away waits for it, for as long as it takes, and then goes on."""

from __future__ import annotations

import errno
import os

import pytest

from tests.workers.conftest import Place
from versions import tasks
from versions.blobs import FolderBlobStore
from versions.errors import BlobStoreAwayError
from workers import jobs


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
