"""What the one solve costs: time and peak memory over the inner width d_in and the number of facts, random keys.

Each case runs in a child process of its own, whose peak memory, libraries and inputs included, is that case's alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment
from editing.progress import ProgressCallback, silent
from editing.solve.closed_form import solve

CORRELATION = 0.99
"""Between neighbouring inputs of the statistic, C[i, j] = CORRELATION^|i − j|: dense, of condition number 4e4."""


@dataclass(frozen=True)
class Width:
    """A layer's shape, and the model that has it."""

    d_in: int
    d_out: int
    model: str


WIDTHS = (Width(6400, 1600, "GPT2-XL"), Width(11008, 4096, "Llama-2-7B"))
FACTS = (1, 16, 256, 1024, 4096, 10_000)
SMALL = (Width(192, 64, "a small one"),), (1, 16, 400)
"""Widths and numbers of facts that take seconds."""


def run(
    widths: Sequence[Width] = WIDTHS, facts: Sequence[int] = FACTS, on_progress: ProgressCallback = silent
) -> dict[str, Any]:
    """Every number of facts at every width. Raises RuntimeError with what a child said that did not end well."""
    cases = [(width, number) for width in widths for number in facts]
    rows = []
    for done, (width, number) in enumerate(cases):
        on_progress(f"solve {width.d_in} × {number}", done, len(cases))
        rows.append({"model": width.model, **_in_child(width, number)})
    return {"threads": torch.get_num_threads(), "dtype": "float64", "mu": 0.0, "rows": rows}


def show(result: dict[str, Any]) -> None:
    print(
        f"{'d_in':>6} {'facts':>6} {'side':>6} {'seconds':>8} {'as a matrix':>11} {'peak GiB':>8} {'inputs':>6}  μ used"
    )
    for row in result["rows"]:
        print(
            f"{row['d_in']:6} {row['facts']:6} {row['side']:>6} {row['solve_seconds']:8.2f} "
            f"{row['matrix_seconds']:11.2f} {row['peak_gib']:8.2f} {row['inputs_gib']:6.2f}  {row['mu_used']:.3g}"
        )


def case(d_in: int, d_out: int, facts: int) -> dict[str, Any]:
    """One solve in this process: μ = 0, raised by the solve itself where the keys cannot all be met."""
    generator = torch.Generator().manual_seed(0)
    metric = InverseSecondMoment(_factor(d_in))
    K = torch.randn(d_in, facts, dtype=torch.float64, generator=generator)
    R = torch.randn(d_out, facts, dtype=torch.float64, generator=generator)
    inputs = _peak_bytes()
    started = time.perf_counter()
    solution = solve(K, R, metric)
    solved = time.perf_counter()
    delta = solution.matrix()
    ended = time.perf_counter()
    return {
        "d_in": d_in,
        "d_out": d_out,
        "facts": facts,
        "side": solution.side,
        "factors": solution.dense is None,
        "solve_seconds": solved - started,
        "matrix_seconds": ended - solved,
        "peak_gib": _peak_bytes() / 2**30,
        "inputs_gib": inputs / 2**30,
        "mu_used": solution.mu_used,
        "condition_number": solution.condition_number,
        "finite": bool(torch.isfinite(delta).all()),
    }


def _factor(d_in: int) -> Tensor:
    """The lower Cholesky factor of C, in closed form: L[i, 0] = ρ^i and L[i, j] = ρ^(i − j) · √(1 − ρ²)."""
    powers = CORRELATION ** torch.arange(d_in, dtype=torch.float64)
    factor = torch.zeros(d_in, d_in, dtype=torch.float64)
    for column in range(d_in):
        factor[column:, column] = powers[: d_in - column]
    factor[:, 1:] *= (1 - CORRELATION**2) ** 0.5
    return factor


def _in_child(width: Width, facts: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.solve", *map(str, (width.d_in, width.d_out, facts))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"d_in {width.d_in}, {facts} facts: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _peak_bytes() -> int:
    """This process's peak resident memory; unlike getrusage's it does not begin with the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell a process its peak memory")


if __name__ == "__main__":
    print(json.dumps(case(*map(int, sys.argv[1:]))))
