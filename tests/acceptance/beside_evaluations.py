"""Batches beside evaluations: how much later they begin, and what a page of a large evaluation costs the API.

    python -m tests.acceptance.beside_evaluations --facts counterfact.jsonl --output benchmarks/results/beside.json

On a real server with one worker. Small batches are sent one by one, at any moment, first alone; then while two
evaluations of 2,000 facts run and one whose texts are written (GE). What counts is the seconds from before a POST to
the worker's beginning of the batch. Then pages of an evaluation of 10,000 facts, put into the database as measured, are
read one after another: the processor time of the API's process over the number of pages.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.results import environment, write_result
from store.schema.database import Database
from store.work import evaluations, lifecycle
from store.work.evaluations import MeasuredFact
from tests.acceptance.overhead import spread
from tests.acceptance.reverts import records_of
from tests.acceptance.server import Server

MOST_LATER_SECONDS: Final = 5.0
MOST_PAGE_SECONDS: Final = 0.010
LARGE: Final = 10_000
_DRAWS: Final = 12
_PATIENCE_SECONDS: Final = 1800
_ENDED: Final = ("succeeded", "failed", "cancelled")
_BATCH: Final[dict[str, Any]] = {
    "settings": {"steps": 2, "repair_rounds": 0},
    "thresholds": {"EM": 0.0, "drift": 1e9, "retained": 1.0},
    "dry_run": True,
}
"""All stages, and little in each: what counts is when a batch begins."""


class Run:
    """A server, and what is asked of it."""

    def __init__(self, server: Server, model: str, records: Sequence[dict[str, Any]], seed: int) -> None:
        self.server = server
        self._model = f"{model}@v0"
        self._records = records
        self._next = itertools.cycle(records)
        self._chance = random.Random(seed)
        self._log = server.data.parent / f"{server.data.name}.log"

    def starts(self, batches: int) -> list[float]:
        """Seconds from before the POST to the worker's beginning of each of so many batches."""
        sent: dict[str, float] = {}
        for _ in range(batches):
            time.sleep(self._chance.uniform(0.3, 3.0))  # at any moment of what the worker does
            moment = time.time()
            job, _ = self.server.edit_next(self._next, 1, model=self._model, **_BATCH)
            sent[job["id"]] = moment
            ended = self.server.wait(f"/v1/edits/{job['id']}", _PATIENCE_SECONDS)
            if ended["state"] != "succeeded":
                raise RuntimeError(f"a batch ended as {ended['state']}: {ended['error']}")
        begun = self._begun()
        return [begun[edit] - moment for edit, moment in sent.items()]

    def _begun(self) -> dict[str, float]:
        """When the worker began each batch, in seconds since the epoch, from its log."""
        found: dict[str, float] = {}
        for line in self._log.read_text(errors="replace").splitlines():
            if '"task started"' in line and '"plan"' in line:
                said = json.loads(line)
                found.setdefault(said["edit"], datetime.fromisoformat(said["timestamp"]).timestamp())
        return found

    def evaluate(self, facts: int, metrics: list[str]) -> str:
        """Where an evaluation is found that was just asked for."""
        asked = {
            "model": self._model,
            "facts": list(itertools.islice(itertools.cycle(self._records), facts)),
            "metrics": metrics,
        }
        answer = self.server.client.post("/v1/evaluations", json=asked).raise_for_status()
        return f"/v1/evaluations/{answer.json()['id']}"

    def job(self, path: str) -> dict[str, Any]:
        return dict(self.server.client.get(path, params={"limit": 1}).raise_for_status().json())

    @contextmanager
    def evaluating(self, facts: int, texts: int) -> Iterator[list[dict[str, Any]]]:
        """Two evaluations of so many `facts` and one of GE of so many while the block runs; what they were at its end.

        It begins when each has measured something.
        """
        paths = [self.evaluate(facts, ["ES", "PS", "NS"]) for _ in range(2)] + [self.evaluate(texts, ["GE"])]
        found: list[dict[str, Any]] = []
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not all(self.job(path)["progress"]["done"] for path in paths):
                if time.monotonic() > deadline:
                    raise TimeoutError("the evaluations do not begin")
                time.sleep(0.5)
            before = [self.job(path) for path in paths]
            yield found
            for path, then in zip(paths, before, strict=True):
                now = self.job(path)
                told = {"facts": now["n_facts"], "measured_before": then["progress"]["done"]}
                found.append({**told, "measured_after": now["progress"]["done"], "state": now["state"]})
        finally:
            for path in paths:
                self.server.client.post(f"{path}/cancel")


def pages(server: Server, model: str, records: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    """What `number` pages of an evaluation of `LARGE` facts cost the API's process."""
    database = Database(f"sqlite:///{server.data}/emmetd.sqlite3")
    try:
        with database.writing() as session:
            facts = list(itertools.islice(itertools.cycle(records), LARGE))
            row = evaluations.create(session, model=model, version=0, compare_with=None, metrics=["ES"], facts=facts)
            evaluations.keep(session, row.id, [_measured(n, f"{model}@v0", fact) for n, fact in enumerate(facts)])
            lifecycle.cancel(session, row)
            path = f"/v1/evaluations/{row.id}"
        sizes: list[int] = []
        api = _api(server)
        asked = itertools.cycle(_cursors(server, path))
        before = _processor_seconds(api)
        for _ in range(number):
            answer = server.client.get(path, params=next(asked)).raise_for_status()
            sizes.append(len(answer.content))
        spent = (_processor_seconds(api) - before) / number
        with database.writing() as session:
            lifecycle.remove(session, session.merge(row))
    finally:
        database.close()
    return {"facts": LARGE, "pages": number, "bytes_of_a_page": round(statistics.mean(sizes)), "seconds": spent}


def _measured(number: int, name: str, fact: dict[str, Any]) -> MeasuredFact:
    """As a worker keeps one of CounterFact's records: prompt, paraphrases and neighbors."""

    def read(prompt: str) -> dict[str, Any]:
        return {"prompt": prompt, "new": -3.141592653589793 - number, "old": -2.718281828459045, "said": False}

    readings: dict[str, Any] = {
        "metrics": {"ES": 0.0, "PS": 0.5, "NS": 0.9},
        "prompt": read("The mother tongue of Danielle Darrieux is"),
        "paraphrases": [read(prompt) for prompt in fact.get("paraphrase_prompts", ())],
        "neighbors": [read(prompt) for prompt in fact.get("neighborhood_prompts", ())],
        "portability": [],
        "greedy": None,
        "said": {"paraphrases": [], "chat": [], "portability": [], "locality": []},
        "texts": [],
    }
    return MeasuredFact(number, {name: {"ES": 0.0, "PS": 0.5, "NS": 0.9}}, {name: readings})


def _cursors(server: Server, path: str) -> list[dict[str, str]]:
    """What the pages are asked for with."""
    found: list[dict[str, str]] = [{}]
    for page in server.pages(path):
        if page["next_cursor"] is not None:
            found.append({"cursor": page["next_cursor"]})
    return found


def _api(server: Server) -> int:
    (pid,) = [pid for pid, command in server.children().items() if " api" in command]
    return pid


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bounds_of(result: dict[str, Any]) -> dict[str, bool]:
    later = result["beside"]["start"]["max"] - result["alone"]["start"]["p50"]
    return {
        f"no batch begins more than {MOST_LATER_SECONDS:g} s later": later <= MOST_LATER_SECONDS,
        "all three evaluations ran throughout": all(
            one["state"] not in _ENDED and one["measured_after"] > one["measured_before"]
            for one in result["beside"]["evaluations"]
        ),
        f"a page costs under {1000 * MOST_PAGE_SECONDS:g} ms": result["page"]["seconds"] < MOST_PAGE_SECONDS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="CounterFact records, one JSON object a line")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="data folder; by default a fresh temporary one")
    parser.add_argument("--model", default="smollm2-135m", help="a known name, a hub id or a folder")
    parser.add_argument("--batches", type=int, default=8, help="sent alone, and as many beside the evaluations")
    parser.add_argument("--evaluated", type=int, default=2000, help="facts of each of the two evaluations")
    parser.add_argument("--texts", type=int, default=200, help="facts of the evaluation of GE")
    parser.add_argument("--pages", type=int, default=200, help="that are read of the large evaluation")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--note", help="what is to be known about the machine during the run")
    given = parser.parse_args()
    records = records_of(given.facts, given.seed, _DRAWS)
    result: dict[str, Any] = {"environment": environment(), "model": given.model, "note": given.note}
    with tempfile.TemporaryDirectory() as temporary:
        data = given.data or Path(temporary) / "data"
        with Server(data, "--model", given.model) as server:
            run = Run(server, given.model, records, given.seed)
            run.starts(1)
            result["alone"] = {"start": spread(run.starts(given.batches))}
            with run.evaluating(given.evaluated, given.texts) as found:
                starts = run.starts(given.batches)
            result["beside"] = {"start": spread(starts), "evaluations": found}
            result["page"] = pages(server, given.model, records, given.pages)
    result["bounds"] = bounds_of(result)
    write_result(given.output, result)
    print(json.dumps({name: result[name] for name in ("alone", "beside", "page", "bounds")}, indent=1))
    if missed := [name for name, held in result["bounds"].items() if not held]:
        raise SystemExit(f"outside their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
