# Made by client/unasync.py from jobs.py of _async: change that one, and run it.
"""Waiting for work that the server does later."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

from emmetd_client._answers import Answer
from emmetd_client._calls import Call, reading, waiting_headers
from emmetd_client._pausing import pause_for
from emmetd_client._progress import OnProgress, telling
from emmetd_client._sync.transport import Transport
from emmetd_client.errors import WaitTimedOutError
from emmetd_client.models.jobs import Job

J = TypeVar("J", bound=Job)

_HELD_SECONDS = 25.0
"""Below the minute after which proxies commonly give up on an answer."""
_TOLD_SECONDS = 1.0
_PAUSE_SECONDS = 0.5


def awaited(
    transport: Transport,
    job: J,
    template: str,
    path: Mapping[str, str],
    on_progress: OnProgress,
    timeout: float | None,
) -> J:
    """`job` as it ended; the server holds each answer back until something ends or a while is over.

    Raises WaitTimedOutError.
    """
    until = None if timeout is None else time.monotonic() + timeout
    held = _TOLD_SECONDS if on_progress else _HELD_SECONDS
    with telling(on_progress) as tell:
        tell(job.progress)
        while not job.ended:
            left = held if until is None else until - time.monotonic()
            if left <= 0:
                raise WaitTimedOutError(
                    f"{job.id} is {job.state} ({job.progress.stage}) after {timeout:g} s; it goes on: wait again, or "
                    "cancel it",
                    job,
                )
            seconds = max(1.0, min(held, left))
            kept = type(job)
            call: Call[tuple[J, bool]] = Call(
                "GET",
                template,
                lambda answer, kept=kept: (reading(kept)(answer), _waited(answer)),  # type: ignore[misc]
                path=path,
                headers=waiting_headers(seconds),
                held_seconds=seconds,
            )
            job, waited = transport.send(call)
            tell(job.progress)
            if not waited and not job.ended:
                pause_for(min(_PAUSE_SECONDS, left))
    return job


def _waited(answer: Answer) -> bool:
    """Whether the server held the answer back; one that does not would be asked without a pause."""
    return "preference-applied" in answer.headers
