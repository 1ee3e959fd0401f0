"""Workers on a tiny model, with a real database and real blobs, whose tasks are run one by one without a queue."""

from __future__ import annotations

import functools
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import redis
import torch

from api_schemas.metrics import DEFAULT_THRESHOLDS
from api_schemas.references import parse_reference
from configuration.redis.keys import queues_for
from configuration.settings import Settings
from editing.model.loading import LoadedModel, load_model
from store.blobs.folder import FolderBlobStore
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import BatchRow, TaskRow, VersionRow
from store.work import batches, lines, tasks
from tests.support.saved_models import facts, one_thread, save_tiny_model
from workers import jobs
from workers.context import WorkerContext, set_current
from workers.measuring import Measuring
from workers.process.main import bind_model
from workers.statistics.layer_statistics import LayerStatistics
from workers.status import StatusBoard
from workers.weights.matrix_cache import MatrixCache
from workers.weights.past_keys import PastKeys

MODEL = "tiny"
LAYERS = (1,)
CACHE_BYTES = 64 * 1024**2
PATIENCE_SECONDS = 60
SURE = {"steps": 60}
"""Settings with which the tiny model says what it is taught."""
LONG = {"steps": 500, "stop_after_argmax": -1, "stop_loss": 0.0}
"""Settings with which a shard takes a while, so that something can happen to it meanwhile."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@dataclass(frozen=True)
class Loaded:
    """A model in memory with its statistics: the same for all tests, since nothing ever writes to it."""

    model: LoadedModel
    statistics: LayerStatistics
    measuring: Measuring


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Loaded]:
    """Load the tiny model of a family once for all tests."""

    @functools.cache
    def _load(family: str, device: str = "cpu") -> Loaded:
        folder = tmp_path_factory.mktemp(family)
        saved = save_tiny_model(folder / "model", family)
        model = load_model(str(saved), cache=folder, name=MODEL, device=torch.device(device))
        statistics = LayerStatistics(model, folder)
        return Loaded(model, statistics, Measuring(model, statistics))

    return _load


@dataclass
class Place:
    """One data folder. `worker()` is a process that holds the model; tasks run when a test says so."""

    loaded: Loaded
    settings: Settings
    database: Database
    blobs: FolderBlobStore

    def worker(self, name: str = "worker", **changed: Any) -> WorkerContext:
        """A worker with a cold cache of matrices, which becomes the one that tasks run in."""
        model = self.loaded.model
        context = WorkerContext(
            id=name,
            name=MODEL,
            settings=self.settings,
            database=self.database,
            blobs=self.blobs,
            model=model,
            statistics=self.loaded.statistics,
            matrices=self.cache(),
            past_keys=PastKeys(MODEL, model.fingerprint, self.database, self.blobs),
            measuring=self.loaded.measuring,
            status=StatusBoard(redis.Redis(), name, MODEL, "cpu"),
            stopping=threading.Event(),
            tokens_per_second=1e6,
        )
        context = replace(context, **changed)
        set_current(context)
        return context

    def cache(self, budget_bytes: int = CACHE_BYTES) -> MatrixCache:
        """Cold: everything that it gives comes from SQL and blobs."""
        model = self.loaded.model
        return MatrixCache(MODEL, model.decoder, model.fingerprint, self.database, self.blobs, budget_bytes)

    def accept(
        self,
        of: list[dict[str, Any]] | None = None,
        reference: str = MODEL,
        settings: Mapping[str, Any] | None = None,
        thresholds: Mapping[str, float] = DEFAULT_THRESHOLDS,
        budget: Mapping[str, float] | None = MappingProxyType({}),
        algorithm: str = "emmet",
        **fields: Any,
    ) -> str:
        """A batch as the front end keeps it; its id."""
        new = batches.NewBatch(
            reference=parse_reference(reference),
            algorithm=algorithm,
            settings={"overrides": dict(SURE if settings is None else settings)},
            thresholds=dict(thresholds),
            budget=None if budget is None else dict(budget),
            facts=facts(4) if of is None else of,
            **fields,
        )
        with self.database.writing() as session:
            return batches.accept(session, new, most_queued=1000)[0].id

    def ready(self) -> list[TaskRow]:
        """What the relay would enqueue now."""
        with self.database.writing() as session:
            lines.advance(session)
            return tasks.to_enqueue(session)

    def step(self) -> str | None:
        """Run the next task in the current worker; its kind, or None where nothing is left.

        By queues, as a worker polls them; what was given back waits behind the others of its queue.
        """
        order = queues_for(MODEL)
        ready = sorted(self.ready(), key=lambda task: (order.index(task.queue), task.token))
        if not ready:
            return None
        jobs.run(ready[0].id)
        return ready[0].kind

    def run(self) -> list[str]:
        """Run everything there is; the kinds of the tasks in order."""
        done = []
        while (kind := self.step()) is not None:
            done.append(kind)
        return done

    def run_until(self, kind: str) -> TaskRow:
        """Run the tasks before the next one of `kind`, which is returned."""
        while (ready := self.ready())[0].kind != kind:
            jobs.run(ready[0].id)
        return ready[0]

    def edit(self, of: list[dict[str, Any]] | None = None, **fields: Any) -> BatchRow:
        """Accept a batch and run it to its end."""
        batch_id = self.accept(of, **fields)
        self.run()
        return self.batch(batch_id)

    def batch(self, batch_id: str) -> BatchRow:
        with self.database.reading() as session:
            return batches.get(session, batch_id)

    def task(self, task_id: str) -> TaskRow:
        with self.database.reading() as session:
            found = tasks.get(session, task_id)
            assert found is not None
            return found

    def tasks_of(self, batch_id: str, kind: str) -> list[TaskRow]:
        with self.database.reading() as session:
            return tasks.of_batch(session, batch_id, kind)

    def version(self, number: int) -> VersionRow:
        with self.database.reading() as session:
            return lineage.get(session, MODEL, number)

    def versions(self) -> list[int]:
        """Numbers of all versions but the base, in order."""
        with self.database.reading() as session:
            return sorted(row.number for row in lineage.page(session, MODEL, None, 1000) if row.number)

    def latest(self) -> int:
        with self.database.reading() as session:
            return lineage.resolve(session, parse_reference(MODEL)).number


@contextmanager
def opened(loaded: Loaded, folder: Path, url: str | None = None, **changed: Any) -> Iterator[Place]:
    """The data folder `folder` with a worker; its database, or the one at `url`, has its tables."""
    url = url or f"sqlite:///{folder}/emmetd.sqlite3"
    settings = Settings(data=folder, database_url=url, model=str(loaded.model.folder), **changed)
    database = Database(url)
    try:
        place = Place(loaded, settings, database, FolderBlobStore(settings.blob_folder))
        bind_model(database, place.blobs, settings, loaded.model)
        place.worker()
        yield place
    finally:
        database.close()


@pytest.fixture
def place_of(tmp_path: Path, database_url: str, load: Callable[[str], Loaded]) -> Iterator[Callable[..., Place]]:
    """Open the test's data folder for a family's tiny model, with other settings where they are named."""
    with ExitStack() as stack:
        yield lambda family="llama", **changed: stack.enter_context(
            opened(load(family), tmp_path, database_url, **changed)
        )


@pytest.fixture
def place(place_of: Callable[..., Place]) -> Place:
    return place_of()


@pytest.fixture(scope="session")
def _published(
    tmp_path_factory: pytest.TempPathFactory, _migrated_database: Path, load: Callable[[str], Loaded]
) -> Path:
    """A data folder with v1, and v2 on top of it."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copyfile(_migrated_database, folder / "emmetd.sqlite3")
    with opened(load("llama"), folder) as place:
        place.edit(facts(2))
        place.edit(facts(2, first=2))
        assert place.versions() == [1, 2]
    return folder


@pytest.fixture
def two_versions(_published: Path, tmp_path: Path, load: Callable[[str], Loaded]) -> Iterator[Place]:
    """The test's own copy of a data folder with v1, and v2 on top of it."""
    folder = shutil.copytree(_published, tmp_path / "data")
    with opened(load("llama"), folder) as place:
        yield place


class During(Measuring):
    """Measuring in whose midst something happens: `calls` are made one by one before the first measurements."""

    def __init__(self, loaded: Loaded, *calls: Callable[[], object]) -> None:
        super().__init__(loaded.model, loaded.statistics)
        self._calls = list(calls)

    def evaluate_versions(self, *arguments: Any, **options: Any) -> Any:
        if self._calls:
            self._calls.pop(0)()
        return super().evaluate_versions(*arguments, **options)


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)
