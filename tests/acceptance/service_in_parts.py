"""The service in parts on a tiny model, each part a process that can be stopped, with a bare handler beside it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import func, select

from api_schemas.edits import FINAL_STATES
from cli.supervision.private_redis import prepare_private_redis
from store.schema.database import Database, migrate
from store.schema.tables import BatchRow
from tests.support.postgres import Cluster
from tests.support.running.installation import MODEL, Part, free_port, wait_until

_READY_SECONDS: Final = 600
"""A machine that does other things too may take long to load what a worker needs."""
_EMMETD: Final = (sys.executable, "-P", "-m", "cli.main")


def database_urls(stack: ExitStack, folder: Path, database: str) -> tuple[str, str]:
    """The service's own and the bare handler's: files in `folder`, or on a PostgreSQL that lives as long as `stack`."""
    names = ("emmetd", "bare")
    if database != "postgresql":
        own, bare = (f"sqlite:///{folder}/{name}.sqlite3" for name in names)
        return own, bare
    cluster = Cluster(durable=True)
    stack.callback(cluster.close)
    cluster.start()
    for name in names:
        cluster.execute(f"CREATE DATABASE {name}")
    own, bare = (cluster.url(name) for name in names)
    return own, bare


@dataclass
class Service:
    """The parts, and where they are reached."""

    api: Part
    worker: Part
    bare: Part
    database: Database
    http: httpx.Client
    ports: dict[str, int]
    headers: dict[str, str]

    def begun(self) -> dict[str, float]:
        """When the worker began each batch, in seconds since the epoch, from its log."""
        found: dict[str, float] = {}
        for line in self.worker.log.read_text(errors="replace").splitlines():
            if '"task started"' in line:
                said = json.loads(line)
                if said["stage"] == "plan":
                    found.setdefault(said["edit"], datetime.fromisoformat(said["timestamp"]).timestamp())
        return found

    def unfinished(self) -> int:
        with self.database.reading() as session:
            query = select(func.count()).select_from(BatchRow).where(BatchRow.state.not_in(FINAL_STATES))
            return session.scalar(query) or 0

    def batches(self) -> dict[str, tuple[int, str]]:
        """Place in the order of acceptance and state of each batch."""
        with self.database.reading() as session:
            query = select(BatchRow.id, BatchRow.seq, BatchRow.state)
            return {edit: (seq, state) for edit, seq, state in session.execute(query)}


@contextmanager
def running(folder: Path, model: Path, url: str, bare_url: str) -> Iterator[Service]:
    """All parts started and ready."""
    migrate(url)
    redis = prepare_private_redis(folder / "redis")
    key = secrets.token_urlsafe(16)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
    emmetd = bare | {
        "EMMETD_DATA": str(folder / "data"),
        "EMMETD_DATABASE_URL": url,
        "EMMETD_REDIS_URL": redis.url,
        "EMMETD_MODEL": str(model),
        "EMMETD_MODEL_NAME": MODEL,
        "EMMETD_API_KEY": key,
        "OMP_NUM_THREADS": "1",
    }
    ports = {"api": free_port(), "bare": free_port()}
    uvicorn = [sys.executable, "-m", "uvicorn", "tests.acceptance.bare_handler:app", "--no-access-log"]
    with ExitStack() as stack:

        def part(name: str, command: Sequence[str], environment: dict[str, str]) -> Part:
            made = Part(name, [*command], environment, folder / f"{name}.log")
            stack.callback(made.kill)
            made.start()
            return made

        part("redis", redis.command, bare)
        api = part("api", [*_EMMETD, "api", "--port", str(ports["api"])], emmetd)
        worker = part("worker", [*_EMMETD, "worker"], emmetd)
        beside = part("bare", [*uvicorn, "--port", str(ports["bare"])], bare | {"BARE_DATABASE_URL": bare_url})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        address = f"http://127.0.0.1:{ports['api']}"
        client = stack.enter_context(httpx.Client(base_url=address, headers=headers, trust_env=False, verify=False))
        database = Database(url)
        stack.callback(database.close)
        wait_until(lambda: _answers(client, "/readyz"), f"ready; see {folder}", _READY_SECONDS)
        wait_until(lambda: _answers(client, f"http://127.0.0.1:{ports['bare']}/openapi.json"), "the bare handler")
        yield Service(api, worker, beside, database, client, ports, headers)


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False
