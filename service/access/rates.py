"""How much a key may do in a minute: buckets in Redis that fill evenly, the same for all API processes.

Redis is no truth: while it does not answer nothing is counted and everybody passes, which the log says.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

from configuration.redis.keys import rate_key
from service.access.caller import Caller
from service.errors import LimitReachedError

_MINUTE: Final = 60.0
_REST_SECONDS: Final = 5.0
"""After a failure Redis is left alone for so long: or every request would wait for a server that hangs."""

# One bucket: what is left, and when that was so, by the server's clock. It is full again after a minute and may go
# then. Giving back is taking less than nothing. Answers the seconds to wait, "0" where it was taken.
_TAKE: Final = """
local most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = most
if kept[1] then left = math.min(most, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * most / 60) end
if wanted > left then return tostring((wanted - left) * 60 / most) end
redis.call('HSET', KEYS[1], 'left', tostring(math.min(most, left - wanted)), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], 120)
return '0'
"""

log = structlog.get_logger(__name__)


class Rates:
    """The buckets of all keys. For threads: it waits for Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._rests_until = float("-inf")

    def take_request(self, caller: Caller) -> None:
        """Raises LimitReachedError where the caller's requests of this minute are used up."""
        most = caller.limits.requests_per_minute
        seconds = self._take("requests", caller.id, most, 1)
        if seconds:
            raise LimitReachedError(
                "request_limit", f"this API key may make {most} requests a minute", math.ceil(seconds)
            )

    def take_tokens(self, caller: Caller, tokens: int) -> None:
        """Set aside what a completion may take at most. Raises LimitReachedError where there is not enough."""
        most = caller.limits.tokens_per_minute
        if most and tokens > most:
            raise LimitReachedError(
                "token_limit",
                f"the prompts and the completions asked for have up to {tokens} tokens, and this API key may have "
                f"{most} in a minute: lower max_tokens, or send less at once",
                int(_MINUTE),
            )
        seconds = self._take("tokens", caller.id, most, tokens)
        if seconds:
            raise LimitReachedError(
                "token_limit",
                f"this API key may have {most} tokens in a minute, of prompts and completions, and this request may "
                f"take {tokens}",
                math.ceil(seconds),
            )

    def give_back_tokens(self, caller: Caller, tokens: int) -> None:
        """Of those set aside, what was not used."""
        if tokens > 0:
            self._take("tokens", caller.id, caller.limits.tokens_per_minute, -tokens)

    def _take(self, kind: str, key_id: str, most: int, wanted: int) -> float:
        """The seconds until `wanted` can be taken; 0 where it was."""
        if not most or time.monotonic() < self._rests_until:
            return 0.0
        try:
            answer: Any = self._redis.eval(_TAKE, 1, rate_key(kind, key_id), most, wanted)
            return float(answer)
        except (RedisError, OSError) as error:
            with self._lock:
                self._rests_until = time.monotonic() + _REST_SECONDS
            log.warning("rates are not limited: Redis does not answer", limit=kind, error=type(error).__name__)
            return 0.0
