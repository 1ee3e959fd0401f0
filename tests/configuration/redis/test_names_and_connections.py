"""Names and connections in Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cli.supervision.private_redis import PrivateRedis, prepare_private_redis
from cli.supervision.tethered import tethered
from configuration.errors import ConfigurationError
from configuration.redis import keys as redis_keys
from configuration.redis.connection import MAX_BLOCK_SECONDS, make_async_redis, make_redis
from configuration.settings import load_settings


def test_urgent_queues_are_polled_first() -> None:
    assert redis_keys.queues_for("m") == ["control:m", "solve:m", "evaluate:m", "values:m"]


def test_no_two_things_share_a_name() -> None:
    names = [
        *redis_keys.queues_for("m"),
        redis_keys.generate_stream("m"),
        redis_keys.reply_stream("m"),
        redis_keys.reader_stream("m"),
        redis_keys.cancelled_key("m"),
        redis_keys.worker_key("m"),
        redis_keys.RELAY_WAKE,
        redis_keys.CHANGED_BATCHES,
    ]
    assert len(set(names)) == len(names)


def test_a_client_names_itself_and_waits_longer_than_any_blocking_command(redis_server: PrivateRedis) -> None:
    with make_redis(load_settings(redis_url=redis_server.url), "emmetd-test") as client:
        assert client.client_getname() in (b"emmetd-test", "emmetd-test")
        assert client.blpop(["nothing"], timeout=1) is None
        assert client.connection_pool.connection_kwargs["socket_timeout"] > 2 * MAX_BLOCK_SECONDS


def test_the_asyncio_client_reaches_the_same_server(redis_server: PrivateRedis) -> None:
    settings = load_settings(redis_url=redis_server.url)

    async def write() -> None:
        async with make_async_redis(settings, "emmetd-test") as client:
            await client.set("key", "value")

    asyncio.run(write())
    with make_redis(settings, "emmetd-test") as client:
        assert client.get("key") == b"value"


def test_more_tasks_than_connections_take_turns(redis_server: PrivateRedis) -> None:
    settings = load_settings(redis_url=redis_server.url)

    async def count() -> list[int]:
        async with make_async_redis(settings, "emmetd-test") as client:
            return await asyncio.gather(*(client.incr("key") for _ in range(300)))

    assert sorted(asyncio.run(count())) == list(range(1, 301))


def test_a_client_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = prepare_private_redis(tmp_path)
    process = subprocess.Popen(tethered(server.command), stdout=subprocess.DEVNULL)
    try:
        asyncio.run(server.answers())
        with make_redis(load_settings(redis_url=server.url), "emmetd-test") as client:
            client.set("key", "value")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process = subprocess.Popen(tethered(server.command), stdout=subprocess.DEVNULL)
            assert client.get("key") == b"value"
    finally:
        process.terminate()
        process.wait()


def test_no_url_is_a_configuration_error_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match="EMMETD_REDIS_URL=redis://"):
        make_redis(load_settings(), "emmetd-test")
