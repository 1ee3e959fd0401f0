"""`Prefer: wait=60` (RFC 7240): answer when the work has ended, or when that time is up, without holding a thread."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Protocol, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Header, Request

from configuration.settings import Settings
from service.access.caller import Caller
from service.access.watch import KeyWatch

_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,6})"?\s*(?=$|[,;])', re.IGNORECASE)
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0

Prefer = Annotated[
    str | None,
    Header(
        max_length=500,
        description="`wait=60`: answer when a final state is reached, at the latest after that many seconds.",
        examples=["wait=60"],
    ),
]


class Asking(Protocol):
    """What tells whether the caller may go on waiting: the request's `service.resources.Resources`."""

    @property
    def watch(self) -> KeyWatch: ...

    @property
    def caller(self) -> Caller: ...

    @property
    def waits(self) -> CapacityLimiter: ...

    @property
    def settings(self) -> Settings: ...


def wait_seconds(prefer: str | None, most: float) -> float | None:
    """The seconds that a Prefer header asks for, at most `most`; None where it does not ask. Others are ignored."""
    asked = _WAIT.search(prefer or "")
    return None if asked is None else min(float(asked[1]), most)


def applied(seconds: float | None) -> dict[str, str]:
    """The header that says which preference was followed."""
    return {} if seconds is None else {"Preference-Applied": f"wait={seconds:g}"}


class Waitable(Protocol):
    """A job, as its row or as clients see it."""

    @property
    def finished_at(self) -> datetime | None: ...


Job = TypeVar("Job", bound=Waitable)


class _Headers(Protocol):
    def update(self, other: dict[str, str], /) -> None: ...


async def awaited(
    request: Request, resources: Asking, headers: _Headers, job: Job, prefer: str | None, look: Callable[[], Job]
) -> Job:
    """`job`, or what `look` finds once it has ended or the time of `Prefer: wait` is up.

    Writes into the answer's `headers` which preference was followed. Raises UnauthorizedError.
    """
    seconds = wait_seconds(prefer, resources.settings.wait_limit_seconds)
    headers.update(applied(seconds))
    if seconds is None or job.finished_at is not None:
        return job
    return await _wait_for(request, resources, seconds, look)


async def _wait_for(
    request: Request,
    resources: Asking,
    seconds: float,
    look: Callable[[], Job],
) -> Job:
    """Look again and again until the job has ended, the time is up, or the client has gone.

    Raises UnauthorizedError where the caller's key ends meanwhile.
    """
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        resources.watch.check(resources.caller)
        # On threads of its own: those who wait are many, and shall not keep others from theirs.
        job = await run_sync(look, limiter=resources.waits)
        left = until - time.monotonic()
        if job.finished_at is not None or left <= 0 or await request.is_disconnected():
            return job
        await asyncio.sleep(min(pause, left))
        pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
