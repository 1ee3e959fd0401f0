"""Exports a version as a PEFT adapter: the deltas of its lineage, summed, as LoRA factors on the edited projections."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from editing.errors import EditingError
from editing.model.loading import LoadedModel
from editing.progress import ShouldStop, check
from editing.solve.low_rank import LowRank, low_rank
from workers.weights.deltas import LayerDelta

MOST_ERROR = 0.01
"""Relative Frobenius error of any layer above which an adapter of fewer ranks is not given out."""
ADAPTER_PREFIX = "base_model.model."
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class RankLimitError(EditingError):
    """The version has more ranks than the caller allows, and fewer would not be the same version."""

    code = "rank_limit_exceeded"


def adapter(
    model: LoadedModel, lineage: Iterable[Mapping[int, LayerDelta]], max_rank: int, should_stop: ShouldStop
) -> tuple[dict[int, LowRank], dict[str, Any]]:
    """Factors by layer, of at most `max_rank` ranks, and what is to be told about them. Raises RankLimitError."""
    device = model.decoder.device
    sums: dict[int, _Sum] = {}
    for deltas in lineage:
        check(should_stop, "the export")
        for layer, delta in deltas.items():
            sums.setdefault(layer, _Sum()).add(delta, device)
    factors_by_layer: dict[int, LowRank] = {}
    for layer, total in sorted(sums.items()):
        check(should_stop, "the export")
        factors_by_layer[layer] = low_rank(total.factors, total.dense, max_rank, total.largest)
    _refuse_above(factors_by_layer, max_rank)
    report = {
        "rank": max(one.A.shape[0] for one in factors_by_layer.values()),
        "full_rank": max(one.full_rank for one in factors_by_layer.values()),
        "relative_error": max(one.error for one in factors_by_layer.values()),
        "layers": {
            str(layer): {"rank": one.A.shape[0], "full_rank": one.full_rank, "relative_error": one.error}
            for layer, one in factors_by_layer.items()
        },
    }
    return factors_by_layer, report


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
            self._add_dense(delta.dense.to(device).double())
            return
        assert delta.a is not None
        assert delta.b is not None
        self.factors.append((delta.a.to(device), delta.b.to(device)))
        if sum(A.shape[0] for A, _ in self.factors) >= min(delta.a.shape[1], delta.b.shape[0]):
            for A, B in self.factors:
                self.largest = max(self.largest, float(A.norm() * B.norm()))
                self._add_dense(B.double() @ A.double())
            self.factors.clear()

    def _add_dense(self, matrix: Tensor) -> None:
        self.dense = matrix if self.dense is None else self.dense.add_(matrix)


def _refuse_above(factors_by_layer: Mapping[int, LowRank], max_rank: int) -> None:
    layer, worst = max(factors_by_layer.items(), key=lambda item: item[1].error)
    if worst.error > MOST_ERROR:
        needed = max(one.full_rank for one in factors_by_layer.values())
        raise RankLimitError(
            f"layer {layer} has rank {worst.full_rank}; in {max_rank} ranks it would be off by {worst.error:.2g} of "
            f"its norm, more than {MOST_ERROR:g}. Ask for format=merged, which has no rank, or for max_rank={needed}"
        )


def adapter_file(model: LoadedModel, factors_by_layer: Mapping[int, LowRank], about: Mapping[str, Any]) -> bytes:
    """A zip that `peft` loads: adapter_config.json, adapter_model.safetensors, and `about` as emmetd.json.

    All layers get the same rank, by rows of zeros, since not every engine reads a rank for each.
    """
    rank = max(one.A.shape[0] for one in factors_by_layer.values())
    tensors: dict[str, Tensor] = {}
    for layer, one in factors_by_layer.items():
        name = f"{ADAPTER_PREFIX}{model.decoder.projection_name(layer)}"
        tensors[f"{name}.lora_A.weight"] = _padded(one.A, rank, 0)
        tensors[f"{name}.lora_B.weight"] = _padded(one.B, rank, 1)
    files = {
        "adapter_config.json": json.dumps(_config(model, factors_by_layer, rank), indent=2).encode(),
        "adapter_model.safetensors": save(tensors, metadata={"format": "pt"}),
        "emmetd.json": json.dumps(about, indent=2, sort_keys=True).encode(),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), data)
    return content.getvalue()


def _padded(factor: Tensor, rank: int, axis: int) -> Tensor:
    missing = list(factor.shape)
    missing[axis] = rank - factor.shape[axis]
    return torch.cat([factor, factor.new_zeros(missing)], dim=axis).float().contiguous().cpu()


def _config(model: LoadedModel, factors_by_layer: Mapping[int, LowRank], rank: int) -> dict[str, Any]:
    """α = r, so that the adapter adds B A as it is. Whole module names, so that no other module is meant."""
    decoder = model.decoder
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.source.get("hub_id"),
        "revision": model.source.get("revision"),
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": decoder.architecture.transposed,
        "target_modules": [decoder.projection_name(layer) for layer in factors_by_layer],
    }
