"""Distances of two versions' matrices from the base and from each other, computed from the deltas in their blobs.

Only inner products ⟨X, Y⟩ = tr(Xᵀ Y) of the deltas are needed. For factors X = B A and Y = D C they are those of small
matrices, Σ (BᵀD) ∘ (A Cᵀ), so that nothing of the size of a weight matrix is made unless a delta is kept that way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store.blobs.deltas import LayerArrays
from store.schema.tables import VersionRow

Float64Array = NDArray[np.float64]
LoadDeltas = Callable[[VersionRow], Mapping[int, LayerArrays]]


@dataclass(frozen=True)
class LayerDistances:
    """Frobenius norms of Δ from the base to either version, and of their difference.

    `cosine` is ⟨Δ, Δ'⟩ / (‖Δ‖ ‖Δ'‖), None where one of them is 0. `base_norm` is ‖W‖ of the base, where it was kept.
    """

    layer: int
    base_norm: float | None
    before: float
    after: float
    difference: float
    cosine: float | None


def layer_diffs(before: Sequence[VersionRow], after: Sequence[VersionRow], load: LoadDeltas) -> list[LayerDistances]:
    """By layer, for the lineages of two versions from the base's child on; `load` reads a version's blob.

    What both have in common is not in their difference: it is added up from what only one of them has.
    """
    shared_versions = {row.number for row in before} & {row.number for row in after}
    common = _DeltaSums(load(row) for row in before if row.number in shared_versions)
    lost = _DeltaSums(load(row) for row in before if row.number not in shared_versions)
    gained = _DeltaSums(load(row) for row in after if row.number not in shared_versions)
    norms = _base_norms([*before, *after])
    return [
        _diff(layer, norms.get(layer), common.of(layer), lost.of(layer), gained.of(layer))
        for layer in sorted(common.layers | lost.layers | gained.layers)
    ]


class _DeltaSums:
    """The sum of several versions' deltas, by layer: factors side by side, or dense once those are no smaller."""

    def __init__(self, deltas: Iterable[Mapping[int, LayerArrays]]) -> None:
        self._parts: dict[int, list[_Delta]] = {}
        for layers in deltas:
            for layer, arrays in layers.items():
                self._parts.setdefault(layer, []).append(_Delta.of(arrays))
                if sum(part.size for part in self._parts[layer]) >= self._parts[layer][0].full_size:
                    self._parts[layer] = [_added(self._parts[layer])]

    @property
    def layers(self) -> set[int]:
        return set(self._parts)

    def of(self, layer: int) -> list[_Delta]:
        return self._parts.get(layer, [])


@dataclass(frozen=True)
class _Delta:
    """B A, or `dense`, in float64."""

    a: Float64Array | None
    b: Float64Array | None
    dense: Float64Array | None

    @staticmethod
    def of(arrays: LayerArrays) -> _Delta:
        widened = [None if part is None else part.astype(np.float64) for part in (arrays.a, arrays.b, arrays.dense)]
        return _Delta(*widened)

    @property
    def size(self) -> int:
        return sum(part.size for part in (self.a, self.b, self.dense) if part is not None)

    @property
    def full_size(self) -> int:
        if self.dense is not None:
            return self.dense.size
        assert self.a is not None
        assert self.b is not None
        return int(self.a.shape[1] * self.b.shape[0])

    def matrix(self) -> Float64Array:
        if self.dense is not None:
            return self.dense
        assert self.a is not None
        assert self.b is not None
        return self.b @ self.a


def _added(parts: Sequence[_Delta]) -> _Delta:
    total = parts[0].matrix().copy()
    for part in parts[1:]:
        total += part.matrix()
    return _Delta(None, None, total)


def _inner(first: Sequence[_Delta], second: Sequence[_Delta]) -> float:
    return sum(_product(left, right) for left in first for right in second)


def _product(first: _Delta, second: _Delta) -> float:
    if first.dense is not None and second.dense is not None:
        return float(np.vdot(first.dense, second.dense))
    if first.dense is not None:
        return _product(second, first)
    assert first.a is not None
    assert first.b is not None
    if second.dense is not None:
        return float(np.vdot(first.b.T @ second.dense, first.a))
    assert second.a is not None
    assert second.b is not None
    return float(np.vdot(first.b.T @ second.b, first.a @ second.a.T))


def _diff(
    layer: int, base_norm: float | None, common: list[_Delta], lost: list[_Delta], gained: list[_Delta]
) -> LayerDistances:
    common_square = _inner(common, common)
    with_lost, with_gained = _inner(common, lost), _inner(common, gained)
    lost_square, gained_square, across = _inner(lost, lost), _inner(gained, gained), _inner(lost, gained)
    before = _root(common_square + 2 * with_lost + lost_square)
    after = _root(common_square + 2 * with_gained + gained_square)
    inner_product = common_square + with_lost + with_gained + across
    cosine = max(-1.0, min(1.0, inner_product / (before * after))) if before > 0 and after > 0 else None
    return LayerDistances(layer, base_norm, before, after, _root(lost_square - 2 * across + gained_square), cosine)


def _root(square: float) -> float:
    """Of a sum of products that rounding may leave a little below 0."""
    return math.sqrt(max(square, 0.0))


def _base_norms(rows: Iterable[VersionRow]) -> dict[int, float]:
    return {int(layer): norm for row in rows for layer, norm in row.provenance.get("base_norms", {}).items()}
