"""emmetd in parts, as on several machines: two API processes, two workers of one model and one of another, Redis behind
a network, and a disk of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import redis

from cli.supervision.private_redis import prepare_private_redis
from cli.supervision.tethered import tethered
from store.blobs.blob_store import BlobStore
from store.blobs.opening import open_blob_store
from store.lineage import models
from store.schema.database import Database, migrate
from tests.support.disks import Disk
from tests.support.postgres import Cluster
from tests.support.running.proxy import Proxy

MODEL: Final = "tiny"
OTHER: Final = "other"
"""A second model, of the same shape."""
PATIENCE_SECONDS: Final = 120
DISK_MIB: Final = 192
_EMMETD: Final = (sys.executable, "-P", "-m", "cli.main")


def wait_until(true: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"never happened: {what}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Part:
    """A process that can be killed and started again. What it writes goes to `log`."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(tethered(self.command), env=dict(self.environment), stdout=log, stderr=log)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Installation:
    """A service of several processes in `folder`. `cluster` is None for SQLite.

    Database file (with SQLite) and blobs lie on a small file system of their own where we may mount one.
    """

    def __init__(self, folder: Path, model: Path, other: Path, cluster: Cluster | None) -> None:
        self.folder = folder
        self.cluster = cluster
        self.disk = Disk(folder / "disk")
        self.disk.folder.mkdir(parents=True)
        self.has_own_disk = self._mount()
        self.database_url = f"sqlite:///{self.disk.folder}/emmetd.sqlite3"
        if cluster is not None:
            cluster.execute("CREATE DATABASE emmetd")
            self.database_url = cluster.url("emmetd")
        migrate(self.database_url)
        self.blobs: BlobStore = open_blob_store(str(self.disk.folder / "blobs"))
        self._redis = prepare_private_redis(folder / "redis")
        self._key = secrets.token_urlsafe(16)
        self.proxy = Proxy(self._redis.port)
        far = self._redis.url.replace(f":{self._redis.port}/", f":{self.proxy.port}/")
        logs = folder / "logs"
        logs.mkdir()
        self.redis = Part("redis", self._redis.command, os.environ, logs / "redis.log")
        self.apis = [self._part(f"api{n}", logs, ["api", "--port", str(free_port())]) for n in range(2)]
        self.workers = [
            self._part(name, logs, ["worker", "--model", str(path), "--model-name", served], EMMETD_REDIS_URL=far)
            for name, served, path in (
                ("worker0", MODEL, model),
                ("worker1", MODEL, model),
                ("other-worker", OTHER, other),
            )
        ]
        self.http = [
            httpx.Client(
                base_url=f"http://127.0.0.1:{api.command[-1]}",
                headers={"Authorization": f"Bearer {self._key}"},
                timeout=20,
                trust_env=False,
                verify=False,
            )
            for api in self.apis
        ]

    def _part(self, name: str, logs: Path, words: list[str], **environment: str) -> Part:
        bare = {key: value for key, value in os.environ.items() if not key.startswith("EMMETD_")}
        settings = {
            "EMMETD_DATA": str(self.folder / "data"),
            "EMMETD_DATABASE_URL": self.database_url,
            "EMMETD_BLOB_URL": str(self.disk.folder / "blobs"),
            "EMMETD_REDIS_URL": self._redis.url,
            "EMMETD_LOG_FORMAT": "json",
            "EMMETD_API_KEY": self._key,
            "EMMETD_LEASE_SECONDS": "2",
            "EMMETD_SHARD_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
        }
        return Part(name, [*_EMMETD, *words], bare | settings | environment, logs / f"{name}.log")

    def __enter__(self) -> Self:
        self.start_redis()
        first, second, other = self.workers
        for part in (*self.apis, first, other):
            part.start()
        wait_until(self._is_registered, f"a worker of each model; see {self.folder}/logs")
        self.wait_until_ready()  # the first worker makes C0, the second finds it
        second.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.http:
            client.close()
        self.proxy.close()
        for part in (*self.workers, *self.apis, self.redis):
            with contextlib.suppress(Exception):
                part.kill()
        if self.has_own_disk:
            subprocess.run(["umount", "--lazy", self.disk.folder], check=False)

    def start_redis(self) -> None:
        self.redis.start()
        asyncio.run(self._redis.answers())

    def queue(self) -> redis.Redis:
        return redis.Redis.from_url(self._redis.url)

    def database(self) -> Database:
        return Database(self.database_url)

    def is_ready(self) -> bool:
        """Whether every API process says that edits and completions are served."""
        try:
            return all(client.get("/readyz").status_code == 200 for client in self.http)
        except httpx.TransportError:
            return False

    def _is_registered(self) -> bool:
        """Whether both models are known: until then the one that is could be ready without the other."""
        with contextlib.closing(self.database()) as database, database.reading() as session:
            return len(models.all_models(session)) == 2

    def wait_until_ready(self) -> None:
        wait_until(self.is_ready, f"ready; see {self.folder}/logs")

    def restart_what_died(self) -> list[str]:
        """As a supervisor would; the names of what it was."""
        died = [part for part in (*self.apis, *self.workers) if not part.runs]
        for part in died:
            part.start()
        return [part.name for part in died]

    def _mount(self) -> bool:
        if os.geteuid() != 0 or shutil.which("mount") is None:
            return False
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "emmetd-faults", self.disk.folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
