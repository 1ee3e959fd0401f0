"""Connections to Redis that notice a dead peer, outlive a restart of the server and never wait for ever."""

from __future__ import annotations

from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from configuration.errors import ConfigurationError
from configuration.settings import Settings

MAX_BLOCK_SECONDS: Final = 5
"""The longest that a blocking command (XREADGROUP, BLPOP) may block: well under the socket's timeout."""

_SOCKET_TIMEOUT_SECONDS: Final = 15
_CONNECT_TIMEOUT_SECONDS: Final = 5
_HEALTH_CHECK_SECONDS: Final = 30
_ASYNC_CONNECTIONS: Final = 32
_RETRIES: Final = 6  # with the backoff below about three seconds: a restarted server is back by then


def make_redis(settings: Settings, client_name: str) -> redis.Redis:
    """A client with its own pool; answers are bytes, as RQ wants them. Nothing is connected yet.

    A command whose answer was lost may be sent twice: use it for what may happen twice.
    Raises `ConfigurationError` where `redis_url` is not set.
    """
    retry = Retry(_backoff(), _RETRIES)
    client: redis.Redis = redis.Redis.from_url(redis_url_of(settings), retry=retry, **_options(client_name))
    return client


def make_async_redis(settings: Settings, client_name: str) -> redis.asyncio.Redis:
    """`make_redis` for asyncio; close it with `await client.aclose()` in the loop that used it.

    Any number of tasks may use it at once: where they are more than its connections, they wait for their turn.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        redis_url_of(settings),
        max_connections=_ASYNC_CONNECTIONS,
        timeout=_SOCKET_TIMEOUT_SECONDS,
        retry=AsyncRetry(_backoff(), _RETRIES),
        **_options(client_name),
    )
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_pool(pool)
    return client


def redis_url_of(settings: Settings) -> str:
    """`redis_url` in clear, password included. Raises `ConfigurationError` where it is not set."""
    if settings.redis_url is None:
        raise ConfigurationError(
            "redis_url is not set; name a server with EMMETD_REDIS_URL=redis://:password@host:6379/0, "
            "or run `emmetd serve`, which starts its own"
        )
    return settings.redis_url.get_secret_value()


def _options(client_name: str) -> dict[str, Any]:
    return {
        "client_name": client_name,
        "socket_timeout": _SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
    }


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.1, cap=1)
