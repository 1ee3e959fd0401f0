"""The private queue server: locked to its password and to this machine, and it forgets nothing when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
import redis

import cli.supervision.private_redis
from cli.supervision.private_redis import PrivateRedis, find_binary, prepare_private_redis
from cli.supervision.tethered import tethered
from cli.terminal.errors import RedisBinaryError


def running(server: PrivateRedis) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(tethered(server.command), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    asyncio.run(server.answers())
    return process


def test_nobody_gets_in_without_the_password(redis_server: PrivateRedis) -> None:
    with (
        redis.Redis(port=redis_server.port) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()
        settings = client.config_get("*")
    assert settings["bind"] == "127.0.0.1"
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
    assert settings["maxmemory-policy"] == "noeviction"


def test_only_the_owner_can_read_the_password(redis_server: PrivateRedis) -> None:
    conf = redis_server.folder / "redis.conf"
    assert redis_server.password in conf.read_text()
    assert stat.S_IMODE(conf.stat().st_mode) == 0o600
    assert redis_server.password not in repr(redis_server)
    assert not any(redis_server.password in word for word in redis_server.command)


def test_what_was_written_survives_kill_9_and_a_new_password(tmp_path: Path) -> None:
    folder = tmp_path / 'a folder with "quotes" and spaces'
    first = prepare_private_redis(folder)
    process = running(first)
    with redis.Redis.from_url(first.url) as client:
        client.rpush("queue", "job 1", "job 2")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    second = prepare_private_redis(folder)
    assert second.password != first.password
    process = running(second)
    try:
        with redis.Redis.from_url(second.url) as client:
            assert client.lrange("queue", 0, -1) == [b"job 1", b"job 2"]
    finally:
        process.terminate()
        assert process.wait() == 0


def fake_server(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_the_systems_server_serves_where_the_package_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli.supervision.private_redis.platform, "machine", lambda: "riscv64")
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = fake_server(tmp_path, "redis-server", "echo 'Redis server v=7.0.15 sha=0'")
    found = find_binary()
    assert (found.path, found.version) == (expected, "redis-server 7.0.15")


def test_a_server_that_does_not_run_or_is_too_old_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cli.supervision.private_redis.platform, "machine", lambda: "riscv64")
    monkeypatch.setenv("PATH", str(tmp_path))
    broken = fake_server(tmp_path, "valkey-server", "exit 1")
    old = fake_server(tmp_path, "redis-server", "echo 'Redis server v=5.0.3 sha=0'")
    with pytest.raises(RedisBinaryError) as refused:
        find_binary()
    for word in (str(broken), str(old), "6.2", "apt-get install redis-server", "EMMETD_REDIS_URL"):
        assert word in str(refused.value)
