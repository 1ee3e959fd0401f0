"""`emmetd worker` as a process of its own, whose queue server comes and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from api_schemas.references import parse_reference
from configuration.redis.keys import WORKER_KEY_PATTERN
from configuration.redis.worker_status import WorkerStatus
from service.relay import Relay
from store.schema.database import Database
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, tasks
from tests.support.own_server import OwnServer
from tests.support.running.server import MODEL, wait_until
from tests.support.saved_models import facts

SETTINGS = {"steps": 200, "stop_after_argmax": -1, "stop_loss": 0.0}


class Worker:
    """The process, the database that it works on, and a relay that hands it tasks when a test says so."""

    def __init__(self, model: Path, data: Path, database_url: str, server: OwnServer) -> None:
        self.redis = redis.Redis.from_url(server.url)
        self.database = Database(database_url)
        self.relay = Relay(self.database, self.redis)
        self.log = data / "worker.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
        environment |= {"EMMETD_DATABASE_URL": database_url, "EMMETD_REDIS_URL": server.url, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "cli.main", "worker", "--model", str(model), "--model-name", MODEL]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data", str(data)], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def stages(self) -> list[str]:
        """What live workers say of themselves."""
        values = [self.redis.get(key) for key in self.redis.scan_iter(WORKER_KEY_PATTERN)]
        return [WorkerStatus.model_validate_json(value).stage for value in values if isinstance(value, bytes)]

    def ready(self) -> None:
        wait_until(lambda: "ready" in self.stages() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.log.read_text()

    def accept(self) -> str:
        new = batches.NewBatch(
            parse_reference(MODEL), "emmet", {"overrides": SETTINGS}, {"EM": 0.0, "drift": 1e6}, facts(12)
        )
        with self.database.writing() as session:
            return batches.accept(session, new, most_queued=10)[0].id

    def batch(self, batch_id: str) -> BatchRow:
        with self.database.reading() as session:
            return batches.get(session, batch_id)

    def shard(self, batch_id: str) -> TaskRow | None:
        with self.database.reading() as session:
            return next(iter(tasks.of_batch(session, batch_id, "values")), None)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.redis.close()
        self.database.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def worker(tiny_model: Path, tmp_path: Path, database_url: str, server: OwnServer) -> Iterator[Worker]:
    worker = Worker(tiny_model, tmp_path, database_url, server)
    yield worker
    worker.close()


def test_its_model_stays_in_memory_while_the_queue_server_is_away_for_long(worker: Worker, server: OwnServer) -> None:
    worker.ready()
    batch_id = worker.accept()

    def in_state(state: str) -> bool:
        worker.relay.round()
        shard = worker.shard(batch_id)
        return shard is not None and shard.state == state

    def ended() -> bool:
        worker.relay.round()
        return worker.batch(batch_id).finished_at is not None

    wait_until(lambda: in_state("running"), "the shard runs")

    server.kill()
    wait_until(lambda: (shard := worker.shard(batch_id)) is not None and shard.state == "done", "the shard is done")
    wait_until(lambda: "the queue server is away" in worker.log.read_text(), "the worker notices")
    server.start()
    wait_until(ended, "the batch ends")

    assert (worker.batch(batch_id).state, worker.batch(batch_id).version) == ("succeeded", 1)
    shard = worker.shard(batch_id)
    assert shard is not None
    assert shard.attempts == 1
    assert worker.process.poll() is None
    worker.ready()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    assert worker.stages() == []
    assert worker.log.read_text().count("worker ready") == 1


def test_told_to_stop_while_it_starts_it_leaves_nothing_half_written(worker: Worker, tmp_path: Path) -> None:
    wait_until(lambda: {"loading", "statistics"} & set(worker.stages()), "it starts")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0, worker.log.read_text()
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".part" or path.name.startswith(".partial-")] == []
    assert "Traceback" not in worker.log.read_text()
