"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import httpx

from emmetd_client._calls import Repeat
from emmetd_client.errors import ConnectionFailedError, TimedOutError

_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_REFUSALS: Final = frozenset({429, 503})
_PASSING: Final = frozenset({408, 425, 429, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """Pauses grow by two from `first_seconds` to `longest_seconds`, each shortened by up to a half at random, so that
    clients that were refused together do not come back together. `Retry-After` is obeyed; where it is longer than
    `patience_seconds` the error is told at once instead, with the time in it.
    """

    retries: int = 4
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    patience_seconds: float = 60.0

    def pause(self, attempt: int, retry_after: float | None = None) -> float | None:
        """Seconds before the attempt after `attempt` (0 is the first); None where there is no other."""
        if attempt >= self.retries:
            return None
        # Spreading retries is not a secret, so the cheap generator does.
        grown: float = min(self.longest_seconds, self.first_seconds * 2**attempt) * random.uniform(0.5, 1.0)
        if retry_after is None:
            return grown
        if retry_after > self.patience_seconds:
            return None
        return retry_after + grown * 0.1


def repeats_after_failure(repeat: Repeat, failure: httpx.TransportError) -> bool:
    return repeat is Repeat.ALWAYS or isinstance(failure, _NOT_SENT)


def repeats_after_status(repeat: Repeat, status: int) -> bool:
    return status in (_PASSING if repeat is Repeat.ALWAYS else _REFUSALS)


def failure_of(failure: httpx.TransportError, url: str) -> ConnectionFailedError:
    """`failure` with the address and the remedy."""
    if isinstance(failure, httpx.TimeoutException):
        return TimedOutError(f"{url} did not answer in time ({type(failure).__name__}); raise timeout, or try again")
    reason = str(failure) or type(failure).__name__
    if isinstance(failure, httpx.ConnectError):
        return ConnectionFailedError(
            f"{url} cannot be reached ({reason}); start the server (`emmetd serve`), or set EMMETD_URL to where it is"
        )
    return ConnectionFailedError(f"the connection to {url} broke ({reason}); try again")
