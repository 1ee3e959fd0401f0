"""What the service costs beside the editing, on a tiny model: how soon a batch begins, what a POST takes, what is lost.

    python -m tests.acceptance.overhead --database postgresql --output benchmarks/results/overhead.json

One run, in this order, on a service in parts (API, worker, Redis, SQLite or PostgreSQL) that does nothing else:

1. An idle service is sent batches one by one: from before the POST to the worker's first line about the batch.
2. The worker is stopped. Clients post small batches on one line, and to a bare FastAPI handler with one commit on a
   database of the same kind, taking turns.
3. The worker is started and does everything that was queued: each batch that got a 202 ends as it should, in order.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.results import environment, write_result
from tests.acceptance.service_in_parts import Service, database_urls, running
from tests.support.running.installation import MODEL, wait_until
from tests.support.saved_models import LANGUAGES, SUBJECTS, save_tiny_model

CLIENTS: Final = 8
AIM_START_SECONDS: Final = 0.2
AIM_RATIO: Final = 3.0
DATABASES: Final = ("sqlite", "postgresql")
_PATIENCE_SECONDS: Final = 900


@dataclass(frozen=True)
class Sizes:
    """`idle` batches one by one; `posts` of each side in a turn, `turns` of each side."""

    idle: int = 40
    posts: int = 100
    turns: int = 10


QUICK: Final = Sizes(idle=3, posts=16, turns=2)


def body(number: int) -> bytes:
    """A small batch: one fact, and the least work that goes through all stages."""
    fact = {
        "prompt": "The mother tongue of {} is",
        "subject": SUBJECTS[number % len(SUBJECTS)],
        "target_new": LANGUAGES[number % len(LANGUAGES)],
        "target_old": LANGUAGES[(number + 1) % len(LANGUAGES)],
    }
    settings = {"steps": 1, "repair_rounds": 0, "contexts": 1}
    thresholds = {"EM": 0.0, "drift": 1e9, "retained": 1.0}
    request = {"model": MODEL, "facts": [fact], "settings": settings, "thresholds": thresholds, "dry_run": True}
    return json.dumps(request).encode()


def measure_starts(service: Service, batches: int, chance: random.Random) -> dict[str, Any]:
    """Seconds from before the POST to the worker's beginning, of batches sent one by one to an idle service."""
    sent: dict[str, float] = {}
    for number in range(batches):
        wait_until(lambda: service.unfinished() == 0, "the batch's end")
        time.sleep(chance.uniform(0.3, 0.8))  # at any moment of whatever is looked at in intervals
        moment = time.time()
        answer = service.http.post("/v1/edits", content=body(number))
        answer.raise_for_status()
        sent[answer.json()["id"]] = moment
    wait_until(lambda: service.unfinished() == 0, "the last batch's end")
    begun = service.begun()
    return spread([begun[edit] - moment for edit, moment in sent.items()])


class Clients:
    """`CLIENTS` that post at the same time, each on its own connection, and send on as soon as they are answered.

    http.client costs a third of what httpx does: the machine's cores are the servers' for the rest.
    """

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self._path = path
        self._headers = headers
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(CLIENTS)]
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.seconds: list[float] = []
        self.accepted: list[str] = []

    def post(self, bodies: Sequence[bytes], *, counts: bool = True) -> None:
        """All of `bodies`; `counts` unless it is to warm up."""
        jobs = [self._pool.submit(self._post, n, bodies[n::CLIENTS]) for n in range(CLIENTS)]
        for job in jobs:
            for seconds, edit in job.result():
                self.accepted.append(edit)
                if counts:
                    self.seconds.append(seconds)

    def close(self) -> None:
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _post(self, number: int, bodies: Sequence[bytes]) -> list[tuple[float, str]]:
        connection, found = self._connections[number], []
        for content in bodies:
            started = time.perf_counter()
            connection.request("POST", self._path, content, self._headers)
            answer = connection.getresponse()
            text = answer.read()
            seconds = time.perf_counter() - started
            if answer.status != 202:
                raise SystemExit(f"POST {self._path} was answered with {answer.status}: {text[:500]!r}")
            found.append((seconds, json.loads(text)["id"]))
        return found


def measure_posts(service: Service, sizes: Sizes) -> tuple[dict[str, Any], list[str]]:
    """Seconds of a POST to the service and to the bare handler, turn by turn; and the batches that were accepted."""
    ours = Clients(service.ports["api"], "/v1/edits", service.headers)
    bare = Clients(service.ports["bare"], "/notes", service.headers)
    try:
        bare.post([body(n) for n in range(2 * CLIENTS)], counts=False)
        for turn in range(sizes.turns):
            bodies = [body(turn * sizes.posts + n) for n in range(sizes.posts)]
            for side in (ours, bare) if turn % 2 else (bare, ours):
                side.post(bodies)
    finally:
        ours.close()
        bare.close()
    post, beside = spread(ours.seconds), spread(bare.seconds)
    ratios = {f"ratio_{point}": round(post[point] / beside[point], 2) for point in ("p50", "p95")}
    return {"service": post, "bare": beside, **ratios}, ours.accepted


def work_off(service: Service, accepted: Sequence[str]) -> dict[str, Any]:
    """Start the worker again and let it do what is queued; what became of every batch that got a 202."""
    queued = service.batches()
    service.worker.start()
    started = time.monotonic()
    wait_until(lambda: service.unfinished() == 0, "the end of all batches", _PATIENCE_SECONDS)
    seconds = time.monotonic() - started
    ended, begun = service.batches(), service.begun()
    in_order = sorted(accepted, key=lambda edit: begun.get(edit, 0.0))
    return {
        "accepted": len(accepted),
        "kept": sum(edit in queued for edit in set(accepted)),
        "lost": sum(edit not in begun or ended[edit][1] != "succeeded" for edit in set(accepted)),
        "in_order": in_order == sorted(accepted, key=lambda edit: ended[edit][0]),
        "seconds": round(seconds, 1),
    }


def measure(database: str, sizes: Sizes, seed: int = 1) -> dict[str, Any]:
    """All of it on one kind of database."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        model = save_tiny_model(folder / "model")
        with running(folder, model, *database_urls(stack, folder, database)) as service:
            found: dict[str, Any] = {"start": measure_starts(service, sizes.idle, random.Random(seed))}
            service.worker.kill(signal.SIGTERM)
            found["post"], accepted = measure_posts(service, sizes)
            found["queue"] = work_off(service, accepted)
    found["bounds"] = {
        "a batch begins within 200 ms": found["start"]["p50"] < AIM_START_SECONDS,
        "a POST costs at most three bare ones": found["post"]["ratio_p95"] <= AIM_RATIO,
        "nothing is lost": found["queue"]["kept"] == len(accepted) and not found["queue"]["lost"],
        "in the order of acceptance": found["queue"]["in_order"],
    }
    return found


def run(databases: Sequence[str], sizes: Sizes) -> dict[str, Any]:
    return {"clients": CLIENTS, "databases": {name: environment() | measure(name, sizes) for name in databases}}


def show(result: dict[str, Any]) -> None:
    for name, found in result["databases"].items():
        print(f"{name:22}{'n':>6}{'p50':>12}{'p95':>12}{'max':>12}")
        rows = {
            "POST to start, idle": found["start"],
            "POST": found["post"]["service"],
            "bare POST": found["post"]["bare"],
        }
        for what, row in rows.items():
            times = "".join(f"{1000 * row[column]:9.1f} ms" for column in ("p50", "p95", "max"))
            print(f"  {what:20}{row['n']:6}{times}")
        queue = found["queue"]
        print(f"  POST against the bare one: {found['post']['ratio_p50']} at p50, {found['post']['ratio_p95']} at p95")
        print(f"  {queue['accepted']} batches accepted, {queue['lost']} lost, done in {queue['seconds']} s")
        for bound, held in found["bounds"].items():
            print(f"  {'held  ' if held else 'MISSED'} {bound}")


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """How many, their median, the 95th percentile and the longest, in seconds."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 5),
        "p95": round(ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))], 5),
        "max": round(ordered[-1], 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, action="append", help="one or both; by default both")
    parser.add_argument("--posts", type=int, default=Sizes.posts * Sizes.turns, help="batches to queue")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all of it runs")
    parser.add_argument("--output", type=Path, help="JSON file for the figures; those of other databases stay")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else Sizes(turns=-(-arguments.posts // Sizes.posts))
    result = run(arguments.database or DATABASES, sizes)
    show(result)
    if arguments.output:
        known = json.loads(arguments.output.read_text())["databases"] if arguments.output.exists() else {}
        write_result(arguments.output, {**result, "databases": known | result["databases"], "quick": arguments.quick})
    missed = [
        f"{name}: {bound}"
        for name, one in result["databases"].items()
        for bound, held in one["bounds"].items()
        if not held
    ]
    if missed:
        raise SystemExit(f"outside their bounds: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
