"""How a version's delta lies in its blob, read with numpy: whoever needs no tensors needs no PyTorch either.

Arrays are named `{layer}.{part}`. Δ (d_out, d_in) is `b` (d_out, r) times `a` (r, d_in), or `dense`. An edit keeps its
`keys` (d_in, E) and residuals `values` (d_out, E), one column for each subject in the order of the batch. At its last
layer it keeps `wanted` (d_out, E), the states of the stream after that layer that its values were optimised for, and in
the header under "groups" the facts (indices) of each column; blobs made before have neither. A revert
keeps in the header under "reverts", for each edit that it changed, which of that edit's columns it took `out` and which
it put back `in`, optimised again, whose keys are `{layer}.keys.{n}`, n counting edits. Keys at which the edit shall
change nothing from then on are `{layer}.pins.{n}` (d_in, p). "ranks" says by layer how many rows of `a` and columns of
`b` are the change of that edit, in their order; a `dense` Δ is that of the only edit that it changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from store.blobs.arrays import pack, unpack, unpack_some
from store.blobs.blob_store import BlobStore
from store.errors import BlobCorruptError

KIND, FORMAT = "delta", 1
_PARTS = ("a", "b", "dense", "keys", "values", "wanted")
CHANGE: Final = ("a", "b", "dense")
"""The parts of which Δ is made."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LayerArrays:
    """One layer's part of a blob; what it does not hold is None."""

    a: Array | None = None
    b: Array | None = None
    dense: Array | None = None
    keys: Array | None = None
    values: Array | None = None
    wanted: Array | None = None
    reinserted_keys: Mapping[int, Array] = field(default_factory=dict)
    """Keys of columns that a revert put back in, by the number of the edit in the header."""
    pins: Mapping[int, Array] = field(default_factory=dict)
    """Keys at which a revert lets an edit change nothing, by the same number."""


def pack_delta(layers: Mapping[int, LayerArrays], header: Mapping[str, Any]) -> bytes:
    """Deterministic safetensors with `header` (fingerprint of the base, provenance) as its metadata."""
    arrays = {}
    for layer, one in layers.items():
        for part in _PARTS:
            array = getattr(one, part)
            if array is not None:
                arrays[f"{layer}.{part}"] = array
        for number, keys in one.reinserted_keys.items():
            arrays[f"{layer}.keys.{number}"] = keys
        for number, pins in one.pins.items():
            arrays[f"{layer}.pins.{number}"] = pins
    return pack(arrays, {**header, "kind": KIND, "format": FORMAT})


def unpack_delta(content: bytes, fingerprint: str) -> tuple[dict[int, LayerArrays], dict[str, Any]]:
    """Layers in order, and the header. Raises BlobCorruptError where this is no delta of the base `fingerprint`."""
    return _layers(*unpack(content), fingerprint)


def read_delta(
    blobs: BlobStore,
    sha256: str,
    fingerprint: str,
    *,
    parts: Collection[str] = _PARTS,
    layers: Collection[int] | None = None,
) -> tuple[dict[int, LayerArrays], dict[str, Any]]:
    """Of the blob `sha256` only `parts` of `layers`, None for all, and the header; the rest is not read.

    Not checked against the blob's name: whoever reads so checks what comes of it. Raises BlobCorruptError as
    `unpack_delta` does, and BlobMissingError.
    """

    def wanted(name: str) -> bool:
        layer, part, *_ = name.split(".")
        return part in parts and (layers is None or int(layer) in layers)

    found = unpack_some(lambda start, length: blobs.part(sha256, start, length), wanted)
    return _layers(*found, fingerprint)


def _layers(
    arrays: Mapping[str, Any], header: dict[str, Any], fingerprint: str
) -> tuple[dict[int, LayerArrays], dict[str, Any]]:
    if header.get("kind") != KIND or header.get("format") != FORMAT:
        raise BlobCorruptError(f"not a delta of format {FORMAT}: {header.get('kind')!r} {header.get('format')!r}")
    if header.get("fingerprint") != fingerprint:
        raise BlobCorruptError("the delta was made for another base model")
    parts: dict[int, dict[str, Any]] = {}
    numbered: dict[tuple[int, str], dict[int, Array]] = {}
    for name, array in arrays.items():
        layer, part, *number = name.split(".")
        if number:
            numbered.setdefault((int(layer), part), {})[int(number[0])] = array
        else:
            parts.setdefault(int(layer), {})[part] = array
    layers = {
        layer: LayerArrays(
            **parts.get(layer, {}),
            reinserted_keys=numbered.get((layer, "keys"), {}),
            pins=numbered.get((layer, "pins"), {}),
        )
        for layer in sorted({*parts, *(layer for layer, _ in numbered)})
    }
    return layers, header
