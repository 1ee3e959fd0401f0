"""Checking new weights beside the old, before anybody is served from them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement, RevertedMetrics
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from store.schema.tables import BatchRow
from workers.context import WorkerContext

SAMPLE = 256
"""Facts on which ES, PS and NS are measured; EM is measured on all."""
SCORES = ("ES", "PS", "NS", "S")
LOWER_IS_BETTER = frozenset({"drift"})


@dataclass(frozen=True)
class Checked:
    """Measurements of the parent and of the edited weights, and in what the edit misses its thresholds."""

    before: dict[str, Measurement]
    after: dict[str, Measurement]
    drift: Measurement
    breaches: list[str]
    reverted: RevertedMetrics | None = None


def check_edit(
    context: WorkerContext,
    batch: BatchRow,
    facts: Sequence[Fact],
    parent: Matrices,
    matrices: Mapping[int, Tensor],
    should_stop: ShouldStop,
    on_progress: ProgressCallback,
) -> Checked:
    """EM on all facts, the other scores on a sample seeded by the batch, drift on held-out text."""
    broken = not_finite(matrices)
    if broken is not None:
        return broken
    extra = [name for name in batch.thresholds if name not in (*SCORES, "EM", "drift")]
    chosen = sample(facts, batch.seq)
    measure = context.measuring.measure
    on_progress("checking", 0, 3)
    before = measure(parent, chosen, (*SCORES, "EM", *extra), should_stop)
    on_progress("checking", 1, 3)
    after = measure(matrices, chosen, (*SCORES, *extra), should_stop)
    after |= measure(matrices, facts, ("EM",), should_stop)
    on_progress("checking", 2, 3)
    drift = measure(matrices, [], ("drift",), should_stop)["drift"]
    on_progress("checking", 3, 3)
    return Checked(before, after, drift, breaches({**after, "drift": drift}, batch.thresholds))


def not_finite(matrices: Matrices) -> Checked | None:
    """The end of the check where a weight is not finite, which nothing could be measured with; else None."""
    broken = [layer for layer, matrix in matrices.items() if not bool(torch.isfinite(matrix).all())]
    if not broken:
        return None
    nothing = Measurement(value=None, n=0)
    return Checked({}, {}, nothing, [f"layers {broken} would hold weights that are not finite"])


def sample(facts: Sequence[Fact], seed: int) -> list[Fact]:
    """At most `SAMPLE` facts in their order; the same for the same seed."""
    if len(facts) <= SAMPLE:
        return list(facts)
    chosen = sorted(random.Random(seed).sample(range(len(facts)), SAMPLE))
    return [facts[number] for number in chosen]


def breaches(measured: Mapping[str, Measurement], thresholds: Mapping[str, float]) -> list[str]:
    """One line for each threshold that is missed. A metric that nothing could be measured for misses its threshold."""
    found = []
    for name, limit in sorted(thresholds.items()):
        measurement = measured.get(name)
        value = None if measurement is None else measurement.value
        if value is None:
            found.append(f"{name} could not be measured, but a threshold of {limit:g} is set on it")
        elif name in LOWER_IS_BETTER and not value <= limit:
            found.append(f"{name} is {value:.4g}, above its threshold {limit:g}")
        elif name not in LOWER_IS_BETTER and not value >= limit:
            found.append(f"{name} is {value:.4g}, below its threshold {limit:g}")
    return found
