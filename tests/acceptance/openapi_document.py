"""The OpenAPI document against a running server: schemathesis, every operation, every check, links followed.

    python -m tests.acceptance.openapi_document --examples 2000 --output benchmarks/results/schemathesis.json

`--examples` is how many requests schemathesis makes at least, spread over the operations; the seed makes the run
repeatable. tests/clients/schemathesis.toml says how it asks. The server is a real one with a tiny model: at the end
its processes are those of the beginning, and all work that was accepted has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final
from unittest import mock

from benchmarks.results import environment, write_result
from tests.support.running.tiny_server import KEY, NAME, tiny_server
from tests.support.running.unharmed import Unharmed
from tests.support.stand_in_hub import served_hub

REPOSITORY = Path(__file__).parents[2]
CONFIGURATION = REPOSITORY / "tests" / "clients" / "schemathesis.toml"
HOOKS = "tests.clients.schemathesis_hooks"
PHASES = "examples,coverage,fuzzing,stateful"
PATIENCE_SECONDS = 1800
SHORT: Final[dict[str, Any]] = {"wait_limit_seconds": 1, "max_completion_tokens": 64}
"""What a client may ask for is otherwise a minute's work for the worker."""


def schemathesis(url: str, key: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """What one run reports, with its exit code and the end of what it printed. It works in `folder`."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    report = folder / "report.json"
    options = ["--no-color", "--checks", "all", "--generation-database", "none", "--report-json-path", str(report)]
    done = subprocess.run(
        [*command, f"{url}/openapi.json", *options, *arguments],
        cwd=folder,
        env={**os.environ, "EMMETD_KEY": key, "EMMETD_HOOKS": HOOKS, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"schemathesis ended with {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(report.read_text())
    return {**found, "printed": done.stdout}


def examples_of_each(examples: int, operations: int) -> int:
    """How many for each operation make at least `examples` together."""
    return -(-examples // operations)


def run(folder: Path, examples: int, seed: int, phases: str) -> dict[str, Any]:
    # The server inherits where a hub is: one that answers, and has none of the models.
    with (
        served_hub(folder) as hub,
        mock.patch.dict(os.environ, HF_ENDPOINT=hub.url),
        tiny_server(folder, **SHORT) as server,
    ):
        unharmed = Unharmed(server, NAME)
        document = server.http.get("/openapi.json").json()
        operations = sum(len(methods) for methods in document["paths"].values())
        each = examples_of_each(examples, operations)
        options = ("--seed", str(seed), "--max-examples", str(each), "--phases", phases)
        told = schemathesis(str(server.http.base_url).rstrip("/"), KEY, folder, *options)
        print(told["printed"], flush=True)
        violations = unharmed.violations(PATIENCE_SECONDS)
        return {
            "environment": environment(),
            "seed": seed,
            "examples_of_each_operation": each,
            **{
                name: told[name]
                for name in (
                    "schemathesis_version",
                    "operations",
                    "phases",
                    "test_cases",
                    "failures",
                    "filtered",
                    "errors",
                )
            },
            "seconds": told["running_time"],
            "outcomes": unharmed.outcomes(),
            "violations": violations,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default=PHASES, help=f"by default {PHASES}")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        result = run(Path(temporary), arguments.examples, arguments.seed, arguments.phases)
    if arguments.output is not None:
        write_result(arguments.output, result)
    wrong = [result[name] for name in ("failures", "errors", "violations") if result[name]]
    if wrong or result["test_cases"]["generated"] < arguments.examples:
        raise SystemExit(f"not as it should be: {json.dumps(wrong)}")


if __name__ == "__main__":
    main()
