"""All benchmarks, or those that are named: each prints a table and writes JSON with date and hardware.

    python -m benchmarks                     all of them
    python -m benchmarks solve statistic     two of them

Longer: python -m benchmarks.tradeoff compares settings, `make acceptance` holds a real server to its promises.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import environment, write_result
from configuration.settings import load_settings
from editing.progress import ProgressCallback
from workers.process.shown_progress import ShownProgress

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Inputs:
    """What was given on the command line; `quick` asks for seconds instead of minutes."""

    facts: Path | None
    limit: int
    model: str
    data: Path
    token: str | None
    quick: bool
    on_progress: ProgressCallback


@dataclass(frozen=True)
class Benchmark:
    """`run` measures and prints; what it returns is written as JSON."""

    summary: str
    run: Callable[[Inputs], dict[str, Any]]
    needs_facts: bool = False


def _values(inputs: Inputs) -> dict[str, Any]:
    from benchmarks import values

    assert inputs.facts is not None
    options: dict[str, Any] = {"steps": 2, "plain_facts": 1, "half_precision": False} if inputs.quick else {}
    result = values.run(
        inputs.facts,
        2 if inputs.quick else inputs.limit,
        model=inputs.model,
        data=inputs.data,
        token=inputs.token,
        on_progress=inputs.on_progress,
        **options,
    )
    values.show(result)
    return result


def _solve(inputs: Inputs) -> dict[str, Any]:
    from benchmarks import solve

    widths, facts = solve.SMALL if inputs.quick else (solve.WIDTHS, solve.FACTS)
    result = solve.run(widths, facts, inputs.on_progress)
    solve.show(result)
    return result


def _statistic(inputs: Inputs) -> dict[str, Any]:
    from benchmarks import statistic

    options = {"tokens": 1024, "turns": 1} if inputs.quick else {}
    result = statistic.run(
        model=inputs.model, data=inputs.data, token=inputs.token, on_progress=inputs.on_progress, **options
    )
    statistic.show(result)
    return result


def _generation(inputs: Inputs) -> dict[str, Any]:
    from benchmarks import generation

    options = {"rows": 4, "new_tokens": 4, "turns": 1, "alone": 4} if inputs.quick else {}
    result = generation.run(
        model=inputs.model, data=inputs.data, token=inputs.token, on_progress=inputs.on_progress, **options
    )
    generation.show(result)
    return result


def _check_decisions(inputs: Inputs) -> dict[str, Any]:
    from benchmarks.checking import decisions

    options = {"batches": 4} if inputs.quick else {}
    result = decisions.run(
        model=inputs.model, data=inputs.data, token=inputs.token, on_progress=inputs.on_progress, **options
    )
    decisions.show(result)
    return result


def _memory(inputs: Inputs) -> dict[str, Any]:
    from benchmarks import memory

    options: dict[str, Any] = {"facts": 4, "kv_cache_bytes": 32 * 1024**2} if inputs.quick else {}
    result = memory.run(
        model=inputs.model, data=inputs.data, token=inputs.token, on_progress=inputs.on_progress, **options
    )
    memory.show(result)
    return result


BENCHMARKS = {
    "values": Benchmark("values of many facts against the plain way, one by one", _values, needs_facts=True),
    "solve": Benchmark("time and peak memory of the solve, up to 10,000 facts at d_in 11,008", _solve),
    "statistic": Benchmark("C0 of a layer against the forward pass that it needs", _statistic),
    "generation": Benchmark("decoding against generate(), and several versions in one batch", _generation),
    "memory": Benchmark("the memory plan against a worker's peak", _memory),
    "check_decisions": Benchmark("decisions on drift from a part of the text against all of it", _check_decisions),
}


def main(arguments: list[str] | None = None) -> int:
    known = "\n".join(f"  {name:15} {benchmark.summary}" for name, benchmark in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"benchmarks:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; by default all")
    parser.add_argument("--facts", type=Path, help="facts, a JSON object to a line; without it `values` is left out")
    parser.add_argument("--limit", type=int, default=64, help="facts that `values` optimises together")
    parser.add_argument("--model", help="a known name, a hub id or a folder")
    parser.add_argument("--data", type=Path, help="folder that the model is kept in")
    parser.add_argument("--results", type=Path, help="folder for the JSON files; by default benchmarks/results")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that all of it runs; without --results no JSON"
    )
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    chosen = {name: BENCHMARKS[name] for name in given.names or BENCHMARKS}
    without = [name for name, benchmark in chosen.items() if benchmark.needs_facts and given.facts is None]
    if without and given.names:
        parser.error(f"{without[0]} needs --facts FILE")
    settings = load_settings(model=given.model, data=given.data)
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    for name, benchmark in chosen.items():
        if name in without:
            print(f"{name} is left out: it needs --facts FILE", file=sys.stderr)
            continue
        print(f"\n{name}: {benchmark.summary}", flush=True)
        with ShownProgress() as progress:
            inputs = Inputs(given.facts, given.limit, settings.model, settings.data, token, given.quick, progress)
            result = benchmark.run(inputs)
        folder = given.results or (None if given.quick else RESULTS)
        if folder is not None:
            write_result(folder / f"{name}.json", {"environment": environment(), "quick": given.quick, **result})
            print(f"written to {folder / f'{name}.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
