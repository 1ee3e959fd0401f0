"""Facts that no one means, by the thousand: a real server with a tiny model answers, edits or refuses, and stays well.

    python -m tests.acceptance.odd_facts --examples 2000 --seed 1 --output benchmarks/results/odd_facts.json

Unicode of every category with halves of surrogate pairs, control characters, subjects of a megabyte, NaN, numbers of
thousands of digits, JSON 10,000 levels deep, NDJSON broken in every way, other encodings, compressed bombs. No answer
is a 5xx, what is accepted is kept letter for letter and reaches its end, and the processes are those of the beginning.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given

from benchmarks.results import environment, write_result
from tests.support.running.odd_bodies import MEGABYTE, Sent, bodies
from tests.support.running.onslaught import Onslaught
from tests.support.running.tiny_server import NAME, tiny_server
from tests.support.running.unharmed import Unharmed

PATIENCE_SECONDS = 1800


def run(folder: Path, examples: int, seed: int) -> dict[str, Any]:
    violations: list[str] = []
    sizes: list[int] = []
    with tiny_server(folder, max_body_bytes=20 * MEGABYTE) as server:
        unharmed, onslaught = Unharmed(server, NAME), Onslaught(server.http)

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(bodies(NAME))
        def send(sent: Sent) -> None:
            sizes.append(len(sent.content))
            for violation in onslaught.send(sent):
                print(f"VIOLATION {violation}\n  of {sent!r}", flush=True)
                violations.append(f"{violation} ({sent!r})"[:2000])

        started = time.monotonic()
        send()
        sent_seconds = time.monotonic() - started
        violations += unharmed.violations(PATIENCE_SECONDS)
        return {
            "environment": environment(),
            "seed": seed,
            "bodies": len(sizes),
            "bytes": sum(sizes),
            "largest_body_bytes": max(sizes),
            "answers": dict(sorted(onslaught.answers.items())),
            "outcomes": unharmed.outcomes(),
            "seconds_sending": round(sent_seconds, 1),
            "seconds_until_all_had_ended": round(time.monotonic() - started, 1),
            "violations": violations,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        result = run(Path(temporary), arguments.examples, arguments.seed)
    if arguments.output is not None:
        write_result(arguments.output, result)
    print(json.dumps({key: result[key] for key in ("bodies", "answers", "outcomes", "violations")}, indent=1))
    if result["violations"]:
        raise SystemExit(f"{len(result['violations'])} violations")


if __name__ == "__main__":
    main()
