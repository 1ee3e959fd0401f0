"""What one API key can hold up for another: diffs of large versions, event streams and an evaluation, all at once.

    python -m tests.acceptance.stalls --output benchmarks/results/stalls.json

On a tiny model, with a second one that no worker has and whose versions are large. Turns follow each other, idle and
busy: in a busy one the one key asks for comparisons, each client for the next as soon as it has its answer or may ask
again, follows streams and has facts measured. In both kinds of turns another key asks for completions and sends small
batches, one by one; what counts is the seconds to the first token, and to the worker's beginning of a batch.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations, cycle
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.results import environment, write_result
from store.access import keys
from store.access.audit import Actor
from store.schema.database import Database
from tests.acceptance.large_versions import LARGE, make_large_versions
from tests.acceptance.overhead import DATABASES, body, spread
from tests.acceptance.service_in_parts import Service, database_urls, running
from tests.support.running.installation import MODEL, wait_until
from tests.support.saved_models import LANGUAGES, SUBJECTS, save_tiny_model

MOST_RATIO: Final = 1.5
_PATIENCE_SECONDS: Final = 300
_SETTLE_SECONDS: Final = 3.0
"""From the load's beginning to the first measurement."""


@dataclass(frozen=True)
class Sizes:
    """What the one key does at once, how large the versions are, and how often the other one asks in a turn."""

    diffs: int = 40
    streams: int = 200
    facts: int = 10_000
    versions: int = 16
    dimension: int = 4096
    rank: int = 512
    turns: int = 4
    completions: int = 12
    edits: int = 6


QUICK: Final = Sizes(
    diffs=8, streams=12, facts=200, versions=4, dimension=256, rank=16, turns=1, completions=2, edits=1
)


def facts_to_measure(number: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"In text {n} the mother tongue of {{}} is",
            "subject": SUBJECTS[n % len(SUBJECTS)],
            "target_new": LANGUAGES[n % len(LANGUAGES)],
            "target_old": LANGUAGES[(n + 1) % len(LANGUAGES)],
        }
        for n in range(number)
    ]


async def _compare(http: httpx.AsyncClient, pairs: Iterator[tuple[int, int]], told: Counter[str], over: Event) -> None:
    while not over.is_set():
        before, after = next(pairs)
        answer = await http.get(f"/v1/models/{LARGE}/diff", params={"from": f"v{before}", "to": f"v{after}"})
        told[f"diff {answer.status_code}"] += 1
        if answer.status_code != 200:
            again = time.monotonic() + float(answer.headers["retry-after"])
            while time.monotonic() < again and not over.is_set():
                await asyncio.sleep(0.2)


async def _follow(http: httpx.AsyncClient, edit: str, told: Counter[str]) -> None:
    async with http.stream("GET", f"/v1/edits/{edit}/events") as answer:
        told[f"stream {answer.status_code}"] += 1
        if answer.status_code == 200:
            async for _ in answer.aiter_raw():
                pass


async def _load(url: str, headers: dict[str, str], edit: str, sizes: Sizes, turn: int, over: Event) -> Counter[str]:
    told: Counter[str] = Counter()
    pairs = list(combinations(range(1, sizes.versions + 1), 2))
    begin = turn * len(pairs) // max(1, sizes.turns)  # a pair that was compared before costs nothing
    shared = cycle(pairs[begin:] + pairs[:begin])
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=None, limits=limits, trust_env=False, verify=False
    ) as http:
        evaluation = await _evaluate(http, sizes.facts, told) if sizes.facts else None
        streams = [asyncio.create_task(_follow(http, edit, told)) for _ in range(sizes.streams)]
        clients = [asyncio.create_task(_compare(http, shared, told, over)) for _ in range(sizes.diffs)]
        while not over.is_set():
            await asyncio.sleep(0.1)
        if evaluation is not None:
            told["evaluation ran throughout"] += await _was_at_it(http, evaluation)
        for task in streams:
            task.cancel()
        await asyncio.gather(*clients)
        await asyncio.gather(*streams, return_exceptions=True)
    return told


async def _evaluate(http: httpx.AsyncClient, facts: int, told: Counter[str]) -> str:
    asked = {"model": f"{MODEL}@v0", "facts": facts_to_measure(facts), "metrics": ["ES", "EM"]}
    answer = await http.post("/v1/evaluations", json=asked)
    told[f"evaluation {answer.status_code}"] += 1
    return str(answer.raise_for_status().json()["id"])


async def _was_at_it(http: httpx.AsyncClient, evaluation: str) -> bool:
    found = (await http.get(f"/v1/evaluations/{evaluation}")).json()["state"]
    await http.post(f"/v1/evaluations/{evaluation}/cancel")
    return found not in ("succeeded", "failed")


def load(
    url: str, headers: dict[str, str], edit: str, sizes: Sizes, turn: int, over: Event, told: Queue[Counter[str]]
) -> None:
    """What the one key does, in a process of its own, until `over`; what it was answered goes to `told`."""
    told.put(asyncio.run(_load(url, headers, edit, sizes, turn, over)))


@contextmanager
def loaded(service: Service, headers: dict[str, str], edit: str, sizes: Sizes, turn: int) -> Iterator[Counter[str]]:
    """The load while the block runs; its answers are counted when it has ended."""
    spawn = multiprocessing.get_context("spawn")
    over, told = spawn.Event(), spawn.Queue()
    url = f"http://127.0.0.1:{service.ports['api']}"
    process = spawn.Process(target=load, args=(url, headers, edit, sizes, turn, over, told))
    counted: Counter[str] = Counter()
    process.start()
    try:
        wait_until(lambda: _is_loaded(service, sizes), "the load is there", _PATIENCE_SECONDS)
        time.sleep(_SETTLE_SECONDS)
        yield counted
    finally:
        over.set()
        counted.update(told.get(timeout=_PATIENCE_SECONDS))
        process.join(_PATIENCE_SECONDS)


def _is_loaded(service: Service, sizes: Sizes) -> bool:
    if not sizes.facts:
        return f"/v1/models/{LARGE}/diff" in service.api.log.read_text(errors="replace")
    page = service.http.get("/v1/evaluations?limit=1").json()["data"]
    return bool(page) and page[0]["state"] not in ("queued", "succeeded", "cancelled", "failed")


class Other:
    """The key that shall not be held up, and the seconds that it waited."""

    def __init__(self, service: Service, http: httpx.Client) -> None:
        self._service = service
        self._http = http
        self._number = 0

    def ask(self, completions: int) -> list[float]:
        """Seconds to the first token of each completion."""
        found = []
        for _ in range(completions):
            subject = SUBJECTS[self._next() % len(SUBJECTS)]
            asked = {"model": MODEL, "prompt": f"The mother tongue of {subject} is", "max_tokens": 4, "stream": True}
            started = time.perf_counter()
            with self._http.stream("POST", "/v1/completions", json=asked) as answer:
                answer.raise_for_status()
                first = next(line for line in answer.iter_lines() if line.startswith("data: "))
                found.append(time.perf_counter() - started)
                assert "error" not in first, first
        return found

    def edit(self, batches: int) -> list[float]:
        """Seconds from before the POST to the worker's beginning of each batch."""
        sent: dict[str, float] = {}
        for _ in range(batches):
            moment = time.time()
            answer = self._http.post("/v1/edits", content=body(self._next()))
            answer.raise_for_status()
            edit = answer.json()["id"]
            sent[edit] = moment
            wait_until(lambda edit=edit: self._has_ended(edit), "the batch's end", _PATIENCE_SECONDS)  # type: ignore[misc]
        begun = self._service.begun()
        return [begun[edit] - moment for edit, moment in sent.items()]

    def _has_ended(self, edit: str) -> bool:
        return bool(self._http.get(f"/v1/edits/{edit}").json()["finished_at"])

    def _next(self) -> int:
        self._number += 1
        return self._number


def measure(database: str, sizes: Sizes) -> dict[str, Any]:
    """All of it on one kind of database."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        model = save_tiny_model(folder / "model")
        service = stack.enter_context(running(folder, model, *database_urls(stack, folder, database)))
        make_large_versions(service.database, folder / "data" / "blobs", sizes.versions, sizes.dimension, sizes.rank)
        busy, other = (_key(service.database, label) for label in ("busy", "other"))
        http = stack.enter_context(
            httpx.Client(base_url=service.http.base_url, headers=other, timeout=120, trust_env=False, verify=False)
        )
        # No worker has its model: it is followed for as long as anybody likes.
        sent = {"model": LARGE, "facts": facts_to_measure(1)}
        waits: str = service.http.post("/v1/edits", json=sent, headers=busy).raise_for_status().json()["id"]
        return _by_turns(service, Other(service, http), busy, waits, sizes)


def _by_turns(service: Service, other: Other, busy: dict[str, str], waits: str, sizes: Sizes) -> dict[str, Any]:
    seconds: dict[str, dict[str, list[float]]] = {kind: {"completion": [], "edit": []} for kind in ("idle", "busy")}
    answered: Counter[str] = Counter()

    def ask(kind: str) -> None:
        seconds[kind]["completion"] += other.ask(sizes.completions)
        seconds[kind]["edit"] += other.edit(sizes.edits)

    other.ask(2)
    other.edit(1)
    for turn in range(sizes.turns):
        ask("idle")
        with loaded(service, busy, waits, sizes, turn) as told:
            ask("busy")
        answered.update(told)
    ratios = {
        what: round(statistics.median(seconds["busy"][what]) / statistics.median(seconds["idle"][what]), 2)
        for what in ("completion", "edit")
    }
    return {
        **{kind: {what: spread(found) for what, found in of.items()} for kind, of in seconds.items()},
        "ratio_p50": ratios,
        "answers_to_the_busy_key": dict(sorted(answered.items())),
        "bounds": {f"{what}s start within {MOST_RATIO} of idle": ratio <= MOST_RATIO for what, ratio in ratios.items()},
    }


def _key(database: Database, label: str) -> dict[str, str]:
    with database.writing() as session:
        _, text = keys.create(session, Actor("cli:acceptance"), label=label, scopes=("generate", "edit", "evaluate"))
    return {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}


def show(found: dict[str, Any]) -> None:
    for what in ("completion", "edit"):
        for kind in ("idle", "busy"):
            row = found[kind][what]
            times = "".join(f"{1000 * row[column]:10.1f} ms" for column in ("p50", "p95", "max"))
            print(f"{what:12}{kind:6}{row['n']:5}{times}")
    print(f"the busy key was answered: {found['answers_to_the_busy_key']}")
    for bound, held in found["bounds"].items():
        print(f"{'held  ' if held else 'MISSED'} {bound}: {found['ratio_p50']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--turns", type=int, default=Sizes.turns)
    parser.add_argument("--facts", type=int, default=Sizes.facts, help="facts that are measured; 0 for no evaluation")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all of it runs")
    parser.add_argument("--note", help="what is to be known about the machine during the run")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    sizes = QUICK if given.quick else Sizes(turns=given.turns, facts=given.facts)
    found = measure(given.database, sizes)
    show(found)
    if given.output:
        about = {"database": given.database, "sizes": asdict(sizes), "quick": given.quick, "note": given.note}
        write_result(given.output, environment() | about | found)
    if missed := [bound for bound, held in found["bounds"].items() if not held]:
        raise SystemExit(f"outside their bounds: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
