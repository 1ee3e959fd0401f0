"""A line driven into collapse on a real server: is it told of before its earlier facts are lost?

    python -m tests.acceptance.worn_line --facts counterfact.jsonl --output benchmarks/results/worn_line.json

Batches of records with distinct subjects on one line, with nothing preserved (mu 0), 25 steps and one layer. After each
batch EM of all facts sent before it is measured plainly, by an evaluation with these facts. The promise: the first
warning `line_worn`, or the first batch that is rejected for what it would lose, comes before EM of earlier facts has
fallen by 0.1 from what it was when they were sent.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import environment, write_result
from tests.acceptance.reverts import records_of
from tests.acceptance.server import RefusedError, Server

MODEL = "smollm2-135m"
SETTINGS = {"mu": 0.0, "steps": 25, "layers": [8]}
MOST_LOST = 0.1


def published(server: Server, facts: list[dict[str, Any]], lifted: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A batch of those of `facts` that the tokenizer takes, run to its end; the job and its facts."""
    limits: dict[str, Any] = {"thresholds": {"EM": 0.0, "drift": 100.0, "retained": 1.0}, "budget": {"drift": 1.5}}
    if not lifted:
        limits = {}
    while True:
        try:
            accepted = server.edit(facts, settings=SETTINGS, **limits)
            return server.wait(f"/v1/edits/{accepted['id']}"), facts
        except RefusedError as refused:
            facts = [one for number, one in enumerate(facts) if number not in refused.facts]


def said(server: Server, facts: list[dict[str, Any]]) -> float:
    """EM of `facts` at the newest version."""
    job = server.evaluate(MODEL, facts, ["EM"])
    (measured,) = job["metrics"].values()
    return float(measured["EM"]["value"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="records of CounterFact, one a line")
    parser.add_argument("--size", type=int, default=64, help="facts in a batch")
    parser.add_argument("--batches", type=int, default=8, help="batches, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--default-limits", action="store_true", help="with the server's thresholds and budget")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    records = records_of(options.facts, options.seed, 1)
    if len(records) < options.size * options.batches:
        raise SystemExit(f"{options.facts} has {len(records)} subjects; {options.size * options.batches} are needed")
    rows: list[dict[str, Any]] = []
    earlier: list[dict[str, Any]] = []
    learnt = 0.0  # facts of `earlier` that were said when they were sent
    lost_when_told: float | None = None
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        for number in range(options.batches):
            chosen = records[number * options.size : (number + 1) * options.size]
            job, chosen = published(server, chosen, not options.default_limits)
            if job["metrics"] is None:
                raise SystemExit(f"batch {number} ended as {job['state']}: {job['error']}")
            warned = any(one["code"] == "line_worn" for one in job["metrics"]["warnings"])
            fell = None
            if earlier:
                fell = learnt / len(earlier) - said(server, earlier)
            rows.append(
                {
                    "batch": number,
                    "state": job["state"],
                    "error": job["error"],
                    "EM": job["metrics"]["after"]["EM"]["value"],
                    "retained": job["metrics"]["retained"],
                    "drift": job["metrics"]["drift"],
                    "warned": warned,
                    "earlier_fell_by": fell,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
            if warned or job["state"] == "rejected":
                lost_when_told = fell or 0.0
                break
            earlier += chosen
            learnt += len(chosen) * job["metrics"]["after"]["EM"]["value"]
    held = lost_when_told is not None and lost_when_told < MOST_LOST
    result = {"settings": SETTINGS, "rows": rows, "lost_when_told": lost_when_told, "held": held}
    if options.output is not None:
        write_result(options.output, {**environment(), **result})
    print(f"told when earlier facts had fallen by {lost_when_told}: {'held' if held else 'NOT held'}")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
