"""`Prefer: wait=60` (RFC 7240): answer when the work has ended, or when that time is up, without holding a thread."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Protocol, TypeVar

from fastapi import Header, Request

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
Job = TypeVar("Job")


class Asking(Protocol):
    """What tells whether the caller may go on waiting: the request's `service.resources.Resources`."""

    @property
    def watch(self) -> KeyWatch: ...

    @property
    def caller(self) -> Caller: ...


def wait_seconds(prefer: str | None, most: float) -> float | None:
    """The seconds that a Prefer header asks for, at most `most`; None where it does not ask. Others are ignored."""
    asked = _WAIT.search(prefer or "")
    return None if asked is None else min(float(asked[1]), most)


def applied(seconds: float | None) -> dict[str, str]:
    """The header that says which preference was followed."""
    return {} if seconds is None else {"Preference-Applied": f"wait={seconds:g}"}


async def wait_for(
    request: Request,
    resources: Asking,
    seconds: float,
    look: Callable[[], Awaitable[Job]],
    ended: Callable[[Job], bool],
) -> Job:
    """Look again and again until `ended`, the time is up, or the client has gone.

    Raises UnauthorizedError where the caller's key ends meanwhile.
    """
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        resources.watch.check(resources.caller)
        job = await look()
        left = until - time.monotonic()
        if ended(job) or left <= 0 or await request.is_disconnected():
            return job
        await asyncio.sleep(min(pause, left))
        pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
