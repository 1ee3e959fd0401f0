"""A version's delta as a blob: for each layer Δ as factors or dense, and the keys and values it was solved from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from versions.arrays import pack, unpack
from versions.errors import BlobCorruptError

FORMAT = 1


@dataclass(frozen=True)
class LayerDelta:
    """Δ (d_out, d_in) of one layer: B A with B (d_out, E) and A (E, d_in), or `dense`; all float32.

    `keys` (d_in, E) and `values` (d_out, E), the residuals, are what a revert solves from again.
    """

    layer: int
    a: Tensor | None
    b: Tensor | None
    dense: Tensor | None
    keys: Tensor
    values: Tensor

    def delta(self) -> Tensor:
        """Δ in float64, multiplied out."""
        if self.dense is not None:
            return self.dense.double()
        assert self.a is not None
        assert self.b is not None
        return self.b.double() @ self.a.double()

    @property
    def rank(self) -> int:
        return min(self.dense.shape) if self.a is None and self.dense is not None else int(self.keys.shape[1])


def pack_deltas(deltas: Mapping[int, LayerDelta], header: Mapping[str, Any]) -> bytes:
    """Deterministic safetensors with `header` (fingerprint of the base, provenance) as its metadata."""
    arrays = {}
    for layer, delta in deltas.items():
        for name in ("a", "b", "dense", "keys", "values"):
            tensor = getattr(delta, name)
            if tensor is not None:
                arrays[f"{layer}.{name}"] = tensor.detach().float().cpu().numpy()
    return pack(arrays, {**header, "kind": "delta", "format": FORMAT})


def unpack_deltas(content: bytes, fingerprint: str) -> dict[int, LayerDelta]:
    """The deltas by layer. Raises BlobCorruptError where they are not a delta of the base with this fingerprint."""
    arrays, header = unpack(content)
    if header.get("kind") != "delta" or header.get("format") != FORMAT:
        raise BlobCorruptError(f"not a delta of format {FORMAT}: {header.get('kind')!r} {header.get('format')!r}")
    if header.get("fingerprint") != fingerprint:
        raise BlobCorruptError("the delta was made for another base model")
    tensors: dict[int, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        layer, _, part = name.partition(".")
        tensors.setdefault(int(layer), {})[part] = torch.from_numpy(array)
    return {
        layer: LayerDelta(layer, parts.get("a"), parts.get("b"), parts.get("dense"), parts["keys"], parts["values"])
        for layer, parts in sorted(tensors.items())
    }


def pack_matrices(matrices: Mapping[int, Tensor], header: Mapping[str, Any]) -> bytes:
    """Edited matrices in their module's layout, bit for bit: as raw bytes, since numpy knows no bfloat16."""
    arrays = {str(layer): matrix.contiguous().view(torch.uint8).cpu().numpy() for layer, matrix in matrices.items()}
    return pack(arrays, {**header, "kind": "matrices", "format": FORMAT})


def unpack_matrices(content: bytes, dtype: torch.dtype) -> dict[int, Tensor]:
    arrays, header = unpack(content)
    if header.get("kind") != "matrices" or header.get("dtype") != str(dtype):
        raise BlobCorruptError(f"not matrices in {dtype}: {header.get('kind')!r} {header.get('dtype')!r}")
    return {int(layer): torch.from_numpy(array).view(dtype) for layer, array in sorted(arrays.items())}
