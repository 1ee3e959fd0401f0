"""The deltas of a version's lineage, summed, as one product of low-rank factors for each edited layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor

from editing.errors import EditingError
from editing.progress import check
from editing.solve.low_rank import LowRank, low_rank, multiplied_out
from workers.exporting.exported_version import ExportedVersion
from workers.weights.deltas import LayerDelta

MOST_ERROR = 0.01
"""Relative Frobenius error of any layer above which an adapter of fewer ranks is not given out."""
ENGINE_RANKS: Final = (8, 16, 32, 64, 128, 256, 512)
"""Ranks of adapters that vLLM and SGLang take."""


class RankLimitError(EditingError):
    """The version has more ranks than the caller allows, and fewer would not be the same version."""

    code = "rank_limit_exceeded"


def lineage_factors(version: ExportedVersion, max_rank: int | None) -> tuple[dict[int, LowRank], dict[str, Any]]:
    """Factors by layer, of at most `max_rank` ranks, in float32 on the CPU as files have them, and what is to be told
    about them. Raises RankLimitError.

    However many versions the lineage has, no more is held than `workers.memory_plan.exporting` says, and one version's
    delta: each is added up before the next is read, and each layer's sum goes as its factors come.
    """
    device = version.model.decoder.device
    sums: dict[int, _Sum] = {}
    for deltas in version.deltas():
        check(version.should_stop, "the export")
        for layer, delta in deltas.items():
            sums.setdefault(layer, _Sum()).add(delta, device)
    factors_by_layer: dict[int, LowRank] = {}
    for layer in sorted(sums):
        check(version.should_stop, "the export")
        most = version.model.decoder.projections[layer].d_in if max_rank is None else max_rank
        factors_by_layer[layer] = _factored(sums.pop(layer), most)
    if not factors_by_layer:
        factors_by_layer[0] = _nothing(version)
    if max_rank is not None:
        _refuse_above(factors_by_layer, max_rank)
    report = {
        "rank": common_rank(factors_by_layer),
        "full_rank": max(one.full_rank for one in factors_by_layer.values()),
        "relative_error": max(one.error for one in factors_by_layer.values()),
        "layers": {
            str(layer): {"rank": one.A.shape[0], "full_rank": one.full_rank, "relative_error": one.error}
            for layer, one in factors_by_layer.items()
        },
    }
    return factors_by_layer, report


def _factored(total: _Sum, most: int) -> LowRank:
    found = low_rank(total.factors, total.dense, most, total.largest)
    return replace(found, A=found.A.float().cpu(), B=found.B.float().cpu())


def _nothing(version: ExportedVersion) -> LowRank:
    """Of the base, on which nothing was edited: an adapter that adds zeros, so that what follows an alias can go back
    to it."""
    projection = version.model.decoder.projections[0]
    zeros = torch.zeros(1, max(projection.d_in, projection.d_out))
    return LowRank(A=zeros[:, : projection.d_in], B=zeros[:, : projection.d_out].T, full_rank=0, error=0.0)


@dataclass
class _Sum:
    """The sum of a layer's deltas: factors (A, B) side by side, multiplied out where they are no smaller than that.

    `largest` is the largest ‖A‖ ‖B‖ of the factors that are in `dense`.
    """

    factors: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    dense: Tensor | None = None
    largest: float = 0.0

    def add(self, delta: LayerDelta, device: torch.device) -> None:
        if delta.dense is not None:
            dense = delta.dense.to(device)
            self.dense = dense.to(torch.float64, copy=True) if self.dense is None else self.dense.add_(dense)
            return
        assert delta.a is not None
        assert delta.b is not None
        self.factors.append((delta.a.to(device), delta.b.to(device)))
        ranks = sum(A.shape[0] for A, _ in self.factors)
        if self.dense is not None or ranks >= min(delta.a.shape[1], delta.b.shape[0]):
            self.largest = max([self.largest, *(float(A.norm() * B.norm()) for A, B in self.factors)])
            self.dense = multiplied_out(self.factors, self.dense)
            self.factors.clear()


def common_rank(factors_by_layer: Mapping[int, LowRank]) -> int:
    """The largest of the layers' ranks."""
    return max(one.A.shape[0] for one in factors_by_layer.values())


def padded(factors: LowRank, rank: int) -> tuple[Tensor, Tensor]:
    """A (rank, d_in) and B (d_out, rank), by rows and columns of zeros; B A stays what it is."""
    missing = rank - factors.A.shape[0]
    if missing == 0:
        return factors.A.contiguous(), factors.B.contiguous()
    A = torch.cat([factors.A, factors.A.new_zeros(missing, factors.A.shape[1])])
    B = torch.cat([factors.B, factors.B.new_zeros(factors.B.shape[0], missing)], dim=1)
    return A.contiguous(), B.contiguous()


def _refuse_above(factors_by_layer: Mapping[int, LowRank], max_rank: int) -> None:
    layer, worst = max(factors_by_layer.items(), key=lambda item: item[1].error)
    if worst.error <= MOST_ERROR:
        return
    needed = max(one.full_rank for one in factors_by_layer.values())
    more = f"max_rank={needed}"
    if needed > ENGINE_RANKS[-1]:
        more += f" (`peft` loads that; vLLM and SGLang take adapters of rank {ENGINE_RANKS[-1]} at most)"
    raise RankLimitError(
        f"layer {layer} has rank {worst.full_rank}; in {max_rank} ranks it would be off by {worst.error:.2g} of "
        f"its norm, more than {MOST_ERROR:g}. Formats that fit: format=hf and format=merged, which have no rank, and "
        f"for llama.cpp format=gguf-lora, which has the version's whole rank; or ask for {more}"
    )
