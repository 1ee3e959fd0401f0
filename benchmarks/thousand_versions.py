"""What the thousandth version of a line costs, against the tenth: a tiny model, 20 facts a version, nothing optimised.

    python -m benchmarks.thousand_versions --output benchmarks/results/thousand_versions.json

A worker's task functions run in this process on SQLite and a folder of blobs. Versions edit two layers by turns. Times
are the process's own CPU time, which other work on the machine hardly changes, of `plan` and `solve` (which checks and
publishes); what is optimised costs the same on every version and is left out. Afterwards retention drops the matrices
that no alias needs, and what is served must be what it was.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import redis
import structlog
import torch
from sqlalchemy import event

from api_schemas.references import parse_reference
from benchmarks.generation import ours
from benchmarks.results import environment, write_result
from benchmarks.small_model import HIDDEN, INNER, facts_of, names, save_model
from configuration.machine.memory import resident_bytes
from configuration.settings import Settings
from editing.model.loading import LoadedModel, load_model
from store.access.audit import Actor
from store.blobs.folder import FolderBlobStore
from store.lineage import aliases
from store.lineage import versions as lineage
from store.schema.database import Database, migrate
from store.schema.tables import VersionRow
from store.upkeep.garbage_collection import collect
from store.upkeep.retention import RetentionPolicy, apply
from store.work import batches, lines, tasks
from workers import jobs
from workers.context import WorkerContext, set_current
from workers.measuring import Measuring
from workers.process.main import bind_model
from workers.statistics.layer_statistics import LayerStatistics
from workers.status import StatusBoard
from workers.weights.matrix_bits import matrix_hash
from workers.weights.matrix_cache import MatrixCache
from workers.weights.past_keys import PastKeys

MODEL: Final = "tiny"
LAYERS: Final = (1, 2)
EARLY: Final = 10
"""The version that the last is compared with."""
WINDOW: Final = 5
"""Edits before and after a version whose median stands for it."""
SETTINGS: Final = {"steps": 1, "repair_rounds": 0, "contexts": 1, "context_tokens": 4}
CACHE_BYTES: Final = 64 * 2**20
NEW_TOKENS: Final = 16
OLDER: Final = 20
"""Versions whose matrices were dropped and that are made again."""
COLD_TURNS: Final = 5
TIMED: Final = ("plan", "solve")
_BENCH: Final = Actor("cli:benchmark")


@dataclass
class Line:
    """One worker and its store. `seconds` and `statements` are by kind of task, a number for each version."""

    context: WorkerContext
    blobs: FolderBlobStore
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statements: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _counted: int = 0

    def count(self) -> None:
        @event.listens_for(self.context.database.engine, "before_cursor_execute")
        def _before(*_: object) -> None:
            self._counted += 1

    def edit(self, facts: list[dict[str, Any]], layer: int) -> None:
        """Accept a batch at the end of the line and run it. Raises RuntimeError where it is not published."""
        database = self.context.database
        new = batches.NewBatch(
            reference=parse_reference(MODEL),
            algorithm="emmet",
            settings={"overrides": {**SETTINGS, "layers": [layer]}},
            thresholds={},
            facts=facts,
        )
        with database.writing() as session:
            batch_id = batches.accept(session, new, most_queued=10)[0].id
        cost: dict[str, tuple[float, int]] = {}
        while True:
            with database.writing() as session:
                lines.advance(session)
                ready = tasks.to_enqueue(session)
            if not ready:
                break
            before, self._counted = time.process_time(), 0
            jobs.run(ready[0].id)
            seconds, statements = cost.get(ready[0].kind, (0.0, 0))
            cost[ready[0].kind] = seconds + time.process_time() - before, statements + self._counted
        with database.reading() as session:
            batch = batches.get(session, batch_id)
        if batch.state != "succeeded":
            raise RuntimeError(f"a batch ended {batch.state}: {batch.error}")
        for kind, (seconds, statements) in cost.items():
            self.seconds[kind].append(seconds)
            self.statements[kind].append(statements)

    def cold(self) -> MatrixCache:
        """What a worker begins with that has just loaded the model."""
        context = self.context
        model = context.model
        return MatrixCache(MODEL, model.decoder, model.fingerprint, context.database, self.blobs, CACHE_BYTES)

    def version(self, number: int) -> VersionRow:
        with self.context.database.reading() as session:
            return lineage.get(session, MODEL, number)

    def said(self, number: int) -> list[list[int]]:
        """Greedy tokens after some prompts, on version `number` as a cold worker has it."""
        model = self.context.model
        prompts = [
            model.backend_tokenizer.encode(fact["prompt"].format(fact["subject"])).ids for fact in facts_of(names()[:4])
        ]
        return ours(model, prompts, [self.cold().get(number)] * len(prompts), NEW_TOKENS).tokens

    def point(self, alias: str, number: int) -> None:
        with self.context.database.writing() as session:
            aliases.put(session, MODEL, alias, number, expected=None)


def open_line(model: LoadedModel, folder: Path) -> Line:
    url = f"sqlite:///{folder}/emmetd.sqlite3"
    migrate(url)
    settings = Settings(data=folder, database_url=url, model=str(model.folder))
    database, blobs = Database(url), FolderBlobStore(settings.blob_folder)
    bind_model(database, blobs, settings, model)
    statistics = LayerStatistics(model, folder)
    context = WorkerContext(
        id="benchmark",
        name=MODEL,
        settings=settings,
        database=database,
        blobs=blobs,
        model=model,
        statistics=statistics,
        matrices=MatrixCache(MODEL, model.decoder, model.fingerprint, database, blobs, CACHE_BYTES),
        past_keys=PastKeys(MODEL, model.fingerprint, database, blobs),
        measuring=Measuring(model, statistics),
        status=StatusBoard(redis.Redis(), "benchmark", MODEL, "cpu"),  # never started: nothing is connected to
        stopping=threading.Event(),
        tokens_per_second=1e6,
    )
    set_current(context)
    line = Line(context, blobs)
    line.count()
    return line


def run(versions: int, facts: int, folder: Path, on_version: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Every figure, for a line of `versions` versions with `facts` facts each, in the empty `folder`."""
    model = load_model(str(save_model(folder / "model")), cache=folder, name=MODEL)
    line = open_line(model, folder)
    with closing(line.context.database):
        early = min(EARLY, versions // 2)
        at: dict[str, dict[str, Any]] = {}
        subjects = names()
        for number in range(1, versions + 1):
            line.edit(facts_of(subjects[(number - 1) * facts : number * facts]), LAYERS[number % len(LAYERS)])
            if number in (early, versions):
                at["early" if number == early else "last"] = _look(line, number)
            on_version(number)
        _times(line, at["early"], early)
        _times(line, at["last"], versions)
        result = {
            "versions": versions,
            "facts_a_version": facts,
            "model": f"Llama, 4 layers, {HIDDEN} wide, inner {INNER}, float32, random",
            "at": at,
            "disk": _disk(line, versions),
            "dropped": _dropped(line, versions),
        }
        result["bounds"] = _bounds(result)
        return result


def _look(line: Line, number: int) -> dict[str, Any]:
    turns = []
    for _ in range(COLD_TURNS):
        cold, started = line.cold(), time.process_time()
        cold.get(number)
        turns.append(time.process_time() - started)
    gc.collect()
    return {"version": number, "resident_mib": round(resident_bytes() / 2**20, 1), "cold_start_ms": _ms(median(turns))}


def _times(line: Line, at: dict[str, Any], number: int) -> None:
    window = slice(max(0, number - 1 - WINDOW), number + WINDOW)
    for kind in TIMED:
        at[f"{kind}_ms"] = _ms(median(line.seconds[kind][window]))
    at["edit_without_optimisation_ms"] = round(sum(at[f"{kind}_ms"] for kind in TIMED), 2)
    at["sql_statements"] = {kind: max(counts[window]) for kind, counts in sorted(line.statements.items())}


def _disk(line: Line, versions: int) -> dict[str, Any]:
    """What lies in the folder of blobs, against what the versions had to add: arrays of deltas, changed matrices."""
    collect(line.context.database, line.blobs, timedelta(0), _BENCH, delete=True)  # values of ended batches
    stored = sum(blob.bytes for blob in line.blobs.entries())
    rows = [line.version(number) for number in range(1, versions + 1)]
    projection = line.context.model.decoder.projections[LAYERS[0]]
    matrices = sum(len(row.layers) for row in rows) * projection.weight.nbytes
    deltas = 4 * sum(2 * row.rank * (projection.d_in + projection.d_out) for row in rows)
    return {
        "bytes_a_version": stored // versions,
        "matrices_and_delta_a_version": (matrices + deltas) // versions,
        "ratio": round(stored / (matrices + deltas), 3),
        "recorded_bytes_a_version": sum(row.bytes for row in rows) // versions,
        "database_bytes_a_version": (line.context.settings.data / "emmetd.sqlite3").stat().st_size // versions,
    }


def _dropped(line: Line, versions: int) -> dict[str, Any]:
    """Retention drops every matrix that no alias needs; what is served before and after."""
    chance = random.Random(versions)
    named = {f"named-{n}": chance.randint(1, versions) for n in range(3)} | {"latest": versions}
    for alias, number in named.items():
        line.point(alias, number)
    before = {number: line.said(number) for number in named.values()}
    gone = apply(
        line.context.database, RetentionPolicy(matrices=timedelta(0), keep_versions=1), _BENCH, execute=True
    ).matrices
    collected = collect(line.context.database, line.blobs, timedelta(0), _BENCH, delete=True)
    after = {number: line.said(number) for number in named.values()}
    older = sorted(chance.sample([number for _, number in gone], min(OLDER, len(gone))))
    same, cost = 0, []
    for number in older:
        cold, started = line.cold(), time.process_time()
        matrices = cold.get(number)
        cost.append((number, time.process_time() - started))
        hashes = {str(layer): matrix_hash(matrix) for layer, matrix in matrices.items()}
        same += hashes == line.version(number).matrix_hashes
    return {
        "versions": len(gone),
        "bytes_freed": collected.bytes,
        "aliases_with_the_same_tokens": sum(before[number] == after[number] for number in named.values()),
        "aliases": len(named),
        "older_made_again_with_their_hash": same,
        "older_looked_at": len(older),
        "ms_for_each_delta": round(median(_ms(seconds) / number for number, seconds in cost), 3),
        "ms_of_the_longest": _ms(max(seconds for _, seconds in cost)),
    }


def _bounds(result: dict[str, Any]) -> dict[str, bool]:
    early, last, dropped = result["at"]["early"], result["at"]["last"], result["dropped"]
    return {
        "an edit costs at most 1.2 of the early one": last["edit_without_optimisation_ms"]
        <= 1.2 * early["edit_without_optimisation_ms"],
        "memory grows by at most 100 MiB": last["resident_mib"] - early["resident_mib"] <= 100,
        "a cold start costs at most twice the early one": last["cold_start_ms"] <= 2 * early["cold_start_ms"],
        "statements of a task do not grow": all(
            count <= early["sql_statements"][kind] + 2 for kind, count in last["sql_statements"].items()
        ),
        "disk is at most 1.1 of what was added": result["disk"]["ratio"] <= 1.1,
        "aliases serve the same tokens": dropped["aliases_with_the_same_tokens"] == dropped["aliases"],
        "older versions are made again": dropped["older_made_again_with_their_hash"] == dropped["older_looked_at"],
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:

        def said(number: int) -> None:
            if number % 50 == 0:
                print(f"v{number}", flush=True)

        result = {"environment": environment(), **run(arguments.versions, arguments.facts, Path(temporary), said)}
    if arguments.output is not None:
        write_result(arguments.output, result)
    print(json.dumps({**result["at"], "disk": result["disk"], "dropped": result["dropped"]}, indent=1))
    missed = [name for name, held in result["bounds"].items() if not held]
    if missed:
        raise SystemExit(f"outside their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
