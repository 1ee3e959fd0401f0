"""emmetd on five hosts: a store with PostgreSQL, the queue server and an object store, two APIs, and two workers."""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import redis

from cli.supervision.private_redis import find_binary
from configuration.s3_settings import S3Access
from store.blobs.opening import open_blob_store
from store.schema.database import Database, migrate
from tests.hosts.network import Host, Network
from tests.support.postgres import Cluster
from tests.support.running.installation import PATIENCE_SECONDS, Part, wait_until
from tests.support.s3_server import KEY, REGION, SECRET

MODEL: Final = "tiny"
LEASE_SECONDS: Final = 4
_EMMETD: Final = (sys.executable, "-P", "-m", "cli.main")
_PORTS: Final = {"redis": 6379, "s3": 9000, "api": 8000}


class Site:
    """Ready once it is entered. `http` reaches the two APIs, `database` and `blobs` look at what they keep."""

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder = folder
        self._model = model
        self._stack = ExitStack()
        self._api_key = secrets.token_urlsafe(16)
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            network = stack.enter_context(Network())
            self.store = network.host("store")
            self._environment = self._start_store(stack)
            self.apis = [network.host(f"api-{letter}") for letter in "ab"]
            self.workers = [network.host(f"worker-{letter}") for letter in "ab"]
            for host in self.apis:
                self._start(stack, host, [*_EMMETD, "api", "--host", host.address, "--port", str(_PORTS["api"])])
            for host in self.workers:
                self._start(stack, host, [*_EMMETD, "worker", "--model", str(self._model), "--model-name", MODEL])
            self.http = [stack.enter_context(self._client(host)) for host in self.apis]
            access = S3Access(self._environment["EMMETD_S3_ENDPOINT"], REGION, KEY, SECRET)
            self.blobs = open_blob_store(self._environment["EMMETD_BLOB_URL"], access)
            self.database = Database(self._environment["EMMETD_DATABASE_URL"])
            stack.callback(self.database.close)
            wait_until(self._is_ready, f"ready; see {self._folder}", 2 * PATIENCE_SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def said(self, host: Host) -> list[dict[str, Any]]:
        """What the process on it has written into its log."""
        lines = (self._folder / f"{host.name}.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _start_store(self, stack: ExitStack) -> dict[str, str]:
        """Start what the others need; the settings with which they find it."""
        host = self.store
        cluster = Cluster(address=host.address, within=host.within)
        stack.callback(cluster.close)
        cluster.start()
        cluster.execute("CREATE DATABASE emmetd")
        migrate(cluster.url("emmetd"))

        password = secrets.token_urlsafe(16)
        data = self._folder / "redis"
        data.mkdir()
        given = {"bind": host.address, "port": _PORTS["redis"], "requirepass": password, "dir": data, "save": ""}
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        self._start(stack, host, [str(find_binary().path), *words], "redis")
        queue = f"redis://:{password}@{host.address}:{_PORTS['redis']}/0"
        wait_until(lambda: _answers(queue), "the queue server answers")

        self._start(
            stack, host, [sys.executable, "-m", "moto.server", "-H", host.address, "-p", str(_PORTS["s3"])], "s3"
        )
        objects = f"http://{host.address}:{_PORTS['s3']}"
        wait_until(lambda: _makes_bucket(f"{objects}/emmetd"), "the object store answers")
        return {
            "EMMETD_DATABASE_URL": cluster.url("emmetd"),
            "EMMETD_REDIS_URL": queue,
            "EMMETD_BLOB_URL": "s3://emmetd/blobs",
            "EMMETD_S3_ENDPOINT": objects,
            "EMMETD_S3_REGION": REGION,
            "EMMETD_S3_ACCESS_KEY_ID": KEY,
            "EMMETD_S3_SECRET_ACCESS_KEY": SECRET,
        }

    def _start(self, stack: ExitStack, host: Host, command: list[str], name: str | None = None) -> None:
        bare = {key: value for key, value in os.environ.items() if not key.startswith("EMMETD_")}
        own = {
            "EMMETD_DATA": str(self._folder / host.name),
            "EMMETD_API_KEY": self._api_key,
            "EMMETD_LEASE_SECONDS": str(LEASE_SECONDS),
            "EMMETD_SHARD_SECONDS": "1",
            "EMMETD_LOG_FORMAT": "json",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
        }
        environment = bare | own | self._environment
        log = self._folder / f"{name or host.name}.log"
        part = Part(name or host.name, [*host.within, *command], environment, log)
        part.start()
        stack.callback(part.kill)

    def _client(self, host: Host) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://{host.address}:{_PORTS['api']}",
            headers={"Authorization": f"Bearer {self._api_key}"},
            timeout=30,
            trust_env=False,
            verify=False,
        )

    def _is_ready(self) -> bool:
        """Both APIs are, and both workers."""
        try:
            ready = all(client.get("/readyz").status_code == 200 for client in self.http)
        except httpx.TransportError:
            return False
        return ready and all(any(one["event"] == "worker ready" for one in self.said(host)) for host in self.workers)


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as server:
            return bool(server.ping())
    except redis.RedisError:
        return False


def _makes_bucket(url: str) -> bool:
    where = f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    try:
        return httpx.put(url, content=where, trust_env=False).is_success
    except httpx.TransportError:
        return False
