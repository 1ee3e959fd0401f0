"""An RQ job restricted to a task's id: whoever can write to Redis shall not choose what a worker runs.

RQ's own imports any function that a job names, calls back others when it has ended, tells addresses that it names, and
reads it as pickle where the serializer was not passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

from configuration.redis.keys import TASK_FUNCTION

log = structlog.get_logger(__name__)


class RefusedJobError(Exception):
    """A job that is no task of ours."""


class TaskJob(Job):
    """Runs the one function with the one argument that a relay enqueues."""

    def perform(self) -> Any:
        """Raises RefusedJobError for anything but a task."""
        if not _is_task(self):
            self.failure_ttl = 0
            log.error("a job that is no task was refused: somebody else writes to Redis", job=self.id[:100])
            raise RefusedJobError(f"only {TASK_FUNCTION} with the id of a task is run")
        return super().perform()

    @property
    def success_callback(self) -> Callable[..., Any] | None:
        return None

    @property
    def failure_callback(self) -> Callable[..., Any] | None:
        return None

    @property
    def stopped_callback(self) -> Callable[..., Any] | None:
        return None

    def send_webhooks(self, status: Any, *, exc_string: str | None = None) -> None:
        """Nobody is told but through SQL."""


def unlearn_pickle() -> None:
    """Let RQ's default serializer be JSON in this process; some of RQ's ways to fetch a job take no other."""
    for name in ("dumps", "loads"):
        setattr(DefaultSerializer, name, staticmethod(getattr(JSONSerializer, name)))


def _is_task(job: Job) -> bool:
    return (
        job.func_name == TASK_FUNCTION
        and job.instance is None
        and not job.kwargs
        and len(job.args) == 1
        and isinstance(job.args[0], str)
    )
