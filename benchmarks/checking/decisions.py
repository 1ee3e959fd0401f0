"""Whether a check that reads held-out text in portions decides as one that reads all of it, and how much it reads.

Batches are made on both sides of the threshold on drift: random changes of the recommended layers, small where ordinary
text is in the metric of C0 as an edit's are, and scaled until the drift over all text is at a chosen place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from api_schemas.metrics import DEFAULT_THRESHOLDS
from editing.covariance.corpus import SelfSampled, held_out_sequences
from editing.covariance.statistics_store import StatisticSpec, prepare_statistics
from editing.methods import recommended_layers
from editing.metrics.sequential_drift import enough, lost_texts
from editing.model.loading import LoadedModel, load_model
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, silent
from editing.readings.held_out_text import HeldOutText
from editing.readings.observations import HeldOutReading
from editing.solve.layers import changed
from editing.sources.default_model import DEFAULT_MODEL

BATCHES = 40
FURTHEST = 0.7
"""How far from the threshold batches are: of its logarithm, on either side."""
RANK = 16
_SCALINGS = 4
_STREAM_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Decision:
    """Drift over all texts, over those that were read, and how many these were."""

    whole: float
    part: float
    texts: int


def run(
    *,
    model: str = DEFAULT_MODEL,
    data: Path,
    token: str | None = None,
    batches: int = BATCHES,
    threshold: float = DEFAULT_THRESHOLDS["drift"],
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """`batches` around `threshold`, half below; each is decided on a part of the text and on all of it."""
    loaded = load_model(model, cache=data, token=token, on_progress=on_progress)
    folder = data / "statistics"
    layers = recommended_layers(loaded.shape)
    statistics = prepare_statistics(loaded, layers, StatisticSpec(SelfSampled()), folder, on_progress=on_progress)
    factors = {layer: one.factor for layer, one in statistics.items()}
    text = HeldOutText(loaded.decoder, held_out_sequences(SelfSampled(), loaded, folder), _STREAM_BYTES)
    base = text.read_all({})
    decisions = []
    for number in range(batches):
        on_progress("batches", number, batches)
        side = 1 if number % 2 else -1
        place = 1 + side * FURTHEST * (number // 2 + 0.5) / math.ceil(batches / 2)
        now = _reading_at(loaded, factors, text, base, number, place * math.log(threshold))
        decisions.append(_decision(text, base, now, threshold))
    on_progress("batches", batches, batches)
    nearest = sorted(decisions, key=lambda one: abs(math.log(one.whole / threshold)))
    return {
        "model": loaded.name,
        "threshold": threshold,
        "batches": batches,
        "above": sum(one.whole > threshold for one in decisions),
        "differing": sum((one.whole > threshold) != (one.part > threshold) for one in decisions),
        "texts": len(text),
        "tokens": sum(text.predicted),
        "share_read": mean(one.texts for one in decisions) / len(text),
        "share_read_nearest_quarter": mean(one.texts for one in nearest[: batches // 4]) / len(text),
        "share_read_furthest_quarter": mean(one.texts for one in nearest[-(batches // 4) :]) / len(text),
        "decisions": [[one.whole, one.part, one.texts] for one in decisions],
    }


def show(result: dict[str, Any]) -> None:
    print(
        f"{result['batches']} batches, {result['above']} above drift {result['threshold']:g}: "
        f"{result['differing']} decided otherwise than on all {result['tokens']} tokens\n"
        f"share of the text read: {result['share_read']:.2f}; nearest the threshold "
        f"{result['share_read_nearest_quarter']:.2f}, furthest from it {result['share_read_furthest_quarter']:.2f}"
    )


def _reading_at(
    loaded: LoadedModel, factors: dict[int, Tensor], text: HeldOutText, base: HeldOutReading, seed: int, wanted: float
) -> HeldOutReading:
    """All of `text` under a random change that loses about `wanted` nats a token: of a change's square, at first."""
    directions = _directions(loaded, factors, seed)
    scale, now = 1.0, base
    for _ in range(_SCALINGS):
        now = text.read_all(_moved(loaded, directions, scale))
        found = _mean(base, now)
        if abs(found / wanted - 1) < 0.02:
            break
        scale *= math.sqrt(wanted / found) if 0 < found < 10 * wanted else 0.25 if found > 0 else 2.0
    return now


def _directions(loaded: LoadedModel, factors: dict[int, Tensor], seed: int) -> dict[int, Tensor]:
    """Δ (d_out, d_in) of each layer, a hundredth of W's norm: B A, A's rows whitened as those of a solve are."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for layer, factor in factors.items():
        projection = loaded.decoder.projections[layer]
        keys = torch.randn(projection.d_in, RANK, dtype=torch.float64, generator=generator).to(factor.device)
        A = torch.linalg.solve_triangular(factor.T, keys, upper=True).T
        delta = torch.randn(projection.d_out, RANK, dtype=torch.float64, generator=generator).to(factor.device) @ A
        found[layer] = delta * (0.01 * projection.weight.double().norm() / delta.norm())
    return found


def _moved(loaded: LoadedModel, directions: dict[int, Tensor], scale: float) -> Matrices:
    projections = loaded.decoder.projections
    return {layer: changed(projections[layer], None, delta * scale) for layer, delta in directions.items()}


def _decision(text: HeldOutText, base: HeldOutReading, now: HeldOutReading, threshold: float) -> Decision:
    for texts in text.portions:
        before, after = _cut(base, texts), _cut(now, texts)
        if enough(after, [(before, threshold)], len(text)):
            return Decision(math.exp(_mean(base, now)), math.exp(_mean(before, after)), texts)
    raise AssertionError("the whole text is enough")


def _cut(reading: HeldOutReading, texts: int) -> HeldOutReading:
    return HeldOutReading(reading.log_likelihoods[:texts], reading.tokens[:texts])


def _mean(before: HeldOutReading, now: HeldOutReading) -> float:
    """Nats that a token lost."""
    return math.fsum(lost_texts(before, now)) / sum(now.tokens)
