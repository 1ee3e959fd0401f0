"""How long a correction takes on a real server, from before its POST until its version is published.

    python -m tests.acceptance.corrections --facts counterfact.jsonl --output benchmarks/results/corrections.json

In each of several lives of a worker three corrections of one fact follow each other on the line's newest version: the
first comes as soon as the service says that it is ready. Then batches of 16 facts, and one of 128, each on the base. On
one machine with nothing beside; times of stages are those that the jobs tell.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.results import environment, write_result
from tests.acceptance.reverts import records_of
from tests.acceptance.server import Server

EDITS_OF_A_LIFE: Final = 3
DRAWS: Final = 12
"""Of `reverts.records_of`: as many records as all lives and batches take, and more."""
SEVERAL, MANY = 16, 128
MOST_SECONDS: Final = {"third": 5.0, "first": 6.0, "sixteen": 20.0}
MOST_SHARE_OF_CHECK: Final = 1 / 3
"""Of a batch of 128 facts."""
_WAIT_SECONDS: Final = 50


def corrected(server: Server, records: Iterator[dict[str, Any]], number: int, model: str) -> dict[str, Any]:
    """The next `number` records that the tokenizer takes as one batch on `model`: seconds, and by stage."""
    began = time.monotonic()  # a record that is refused costs milliseconds, and is rare
    job, _ = server.edit_next(records, number, model=model, label="a correction")
    path = f"/v1/edits/{job['id']}"
    while job["finished_at"] is None:  # heard of at once, and not at the next look
        job = server.client.get(path, headers={"Prefer": f"wait={_WAIT_SECONDS}"}).raise_for_status().json()
    return {
        "seconds": time.monotonic() - began,
        "state": job["state"],
        "by_stage": job["metrics"]["seconds"] if job["metrics"] else None,
    }


def median_seconds(runs: Sequence[dict[str, Any]]) -> float:
    return float(statistics.median(run["seconds"] for run in runs))


def check_share(run: dict[str, Any]) -> float:
    """Of the work on a batch, without its wait in the queue."""
    stages = {name: seconds for name, seconds in run["by_stage"].items() if name != "queued"}
    return float(stages.get("checking", 0.0) / sum(stages.values()))


def bounds_of(result: dict[str, Any]) -> dict[str, bool]:
    held = {
        "third": median_seconds([life[-1] for life in result["lives"]]) <= MOST_SECONDS["third"],
        "first": median_seconds([life[0] for life in result["lives"]]) <= MOST_SECONDS["first"],
    }
    if result["sixteen"]:
        held["sixteen"] = median_seconds(result["sixteen"]) <= MOST_SECONDS["sixteen"]
    if result["many"]:
        held["check of 128"] = check_share(result["many"]) <= MOST_SHARE_OF_CHECK
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--facts", type=Path, required=True, help="CounterFact records or facts, one JSON object a line"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="data folder; by default a fresh temporary one")
    parser.add_argument("--model", default="smollm2-135m", help="a known name, a hub id or a folder")
    parser.add_argument("--lives", type=int, default=9, help="how often the service is started")
    parser.add_argument("--sixteen", type=int, default=3, help="batches of 16 facts")
    parser.add_argument("--no-many", action="store_true", help="without the batch of 128 facts")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    records = iter(records_of(given.facts, given.seed, DRAWS))
    result: dict[str, Any] = {"environment": environment(), "model": given.model, "seed": given.seed}
    result |= {"lives": [], "sixteen": [], "many": None}
    with tempfile.TemporaryDirectory() as temporary:
        data = given.data or Path(temporary) / "data"
        for _ in range(given.lives):
            with Server(data, "--model", given.model) as server:
                life = [corrected(server, records, 1, given.model) for _ in range(EDITS_OF_A_LIFE)]
            result["lives"].append(life)
            write_result(given.output, result)
        base = f"{given.model}@v0"
        with Server(data, "--model", given.model) as server:
            for _ in range(given.sixteen):
                result["sixteen"].append(corrected(server, records, SEVERAL, base))
                write_result(given.output, result)
            if not given.no_many:
                result["many"] = corrected(server, records, MANY, base)
    result["bounds"] = bounds_of(result)
    write_result(given.output, result)
    print(json.dumps(result["bounds"], indent=1))
    if missed := [name for name, held in result["bounds"].items() if not held]:
        raise SystemExit(f"outside their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
