"""Blobs as tensors: a version's delta, what a revert put into earlier edits, and the edited matrices themselves.

The names of the arrays and the header's keys are the blob's format, defined with numpy in `store.blobs.deltas`: what is
changed there must still read blobs of earlier releases. This only turns arrays into float32 tensors and back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from store.blobs.arrays import pack, unpack
from store.blobs.blob_store import BlobStore
from store.blobs.deltas import FORMAT, Array, LayerArrays, pack_delta, read_delta, unpack_delta
from store.errors import BlobCorruptError


@dataclass(frozen=True)
class LayerDelta:
    """Δ (d_out, d_in) of one layer: B A with B (d_out, r) and A (r, d_in), or `dense`; all float32.

    An edit keeps the `keys` (d_in, E) and `values` (d_out, E), the residuals, that it was solved from, and at its last
    layer the states `wanted` (d_out, E); a revert, which needs the keys, has none of its own.
    """

    layer: int
    a: Tensor | None
    b: Tensor | None
    dense: Tensor | None
    keys: Tensor | None = None
    values: Tensor | None = None
    wanted: Tensor | None = None

    def delta(self) -> Tensor:
        """Δ in float64, multiplied out."""
        if self.dense is not None:
            return self.dense.double()
        assert self.a is not None
        assert self.b is not None
        return self.b.double() @ self.a.double()

    @property
    def rank(self) -> int:
        """An upper bound: columns of B, or the smaller side of a dense Δ, which may depend on each other."""
        if self.a is not None:
            return int(self.a.shape[0])
        assert self.dense is not None
        return min(self.dense.shape)


@dataclass(frozen=True)
class InsertedKeys:
    """What a revert put into one layer of an edit: the `keys` (d_in, n) of columns that it optimised again, and `pins`
    (d_in, p), keys at which the edit changes nothing from then on."""

    keys: Tensor | None = None
    pins: Tensor | None = None


InsertedKeysByLayer = Mapping[int, Mapping[int, InsertedKeys]]
"""Layer → number of an edit in the header's "reverts" → what was put into it."""


def pack_deltas(
    deltas: Mapping[int, LayerDelta], header: Mapping[str, Any], inserted_keys: InsertedKeysByLayer | None = None
) -> bytes:
    """The blob of `deltas`, with what a revert put into earlier edits."""
    inserted_by_layer = inserted_keys or {}
    return pack_delta(
        {
            layer: LayerArrays(
                a=_array(arrays.a),
                b=_array(arrays.b),
                dense=_array(arrays.dense),
                keys=_array(arrays.keys),
                values=_array(arrays.values),
                wanted=_array(arrays.wanted),
                reinserted_keys={
                    number: _array(inserted.keys)
                    for number, inserted in inserted_by_layer.get(layer, {}).items()
                    if inserted.keys is not None
                },
                pins={
                    number: _array(inserted.pins)
                    for number, inserted in inserted_by_layer.get(layer, {}).items()
                    if inserted.pins is not None
                },
            )
            for layer, arrays in deltas.items()
        },
        header,
    )


def unpack_deltas(content: bytes, fingerprint: str) -> dict[int, LayerDelta]:
    """The deltas by layer. Raises BlobCorruptError where they are not a delta of the base with this fingerprint."""
    layers, _ = unpack_delta(content, fingerprint)
    return _as_tensors(layers)


def read_deltas(
    blobs: BlobStore,
    sha256: str,
    fingerprint: str,
    *,
    parts: Collection[str],
    layers: Collection[int] | None = None,
) -> dict[int, LayerDelta]:
    """Of the blob only `parts` (names of `LayerDelta`'s arrays) of `layers`, None for all; nothing else is read.

    Not checked against the blob's name (`store.blobs.deltas.read_delta`). Raises BlobError.
    """
    arrays_by_layer, _ = read_delta(blobs, sha256, fingerprint, parts=parts, layers=layers)
    return _as_tensors(arrays_by_layer)


def _as_tensors(layers: Mapping[int, LayerArrays]) -> dict[int, LayerDelta]:
    return {
        layer: LayerDelta(
            layer,
            _tensor(arrays.a),
            _tensor(arrays.b),
            _tensor(arrays.dense),
            _tensor(arrays.keys),
            _tensor(arrays.values),
            _tensor(arrays.wanted),
        )
        for layer, arrays in layers.items()
    }


def unpack_reverts(content: bytes, fingerprint: str) -> tuple[list[dict[str, Any]], InsertedKeysByLayer]:
    """What a revert did to edits: the header's "reverts", and what it put into each edit's layers."""
    layers, header = unpack_delta(content, fingerprint)
    return header["reverts"], {layer: _inserted(arrays) for layer, arrays in layers.items()}


def _inserted(layer: LayerArrays) -> dict[int, InsertedKeys]:
    return {
        number: InsertedKeys(_tensor(layer.reinserted_keys.get(number)), _tensor(layer.pins.get(number)))
        for number in layer.reinserted_keys.keys() | layer.pins.keys()
    }


def pack_matrices(matrices: Mapping[int, Tensor], header: Mapping[str, Any]) -> bytes:
    """Edited matrices in their module's layout, bit for bit: as raw bytes, since numpy knows no bfloat16."""
    arrays = {str(layer): matrix.contiguous().view(torch.uint8).cpu().numpy() for layer, matrix in matrices.items()}
    return pack(arrays, {**header, "kind": "matrices", "format": FORMAT})


def unpack_matrices(content: bytes, dtype: torch.dtype) -> dict[int, Tensor]:
    """What `pack_matrices` packed, by layer. Raises BlobCorruptError where it is something else or not of `dtype`."""
    arrays, header = unpack(content)
    if header.get("kind") != "matrices" or header.get("dtype") != str(dtype):
        raise BlobCorruptError(
            f"not matrices in {dtype}: {header.get('kind')!r} {header.get('dtype')!r}; run the worker in the dtype "
            "that the version was made in, or restore the blob from a backup"
        )
    return {int(layer): torch.from_numpy(array).view(dtype) for layer, array in sorted(arrays.items())}


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().float().cpu().numpy()


def _tensor(array: Array | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array)
