"""How far two versions' matrices are from the base and from each other, computed from the deltas in their blobs.

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

Wide = NDArray[np.float64]
Load = Callable[[VersionRow], Mapping[int, LayerArrays]]


@dataclass(frozen=True)
class LayerDiff:
    """Frobenius norms of Δ from the base to either version, and of their difference.

    `cosine` is ⟨Δ, Δ'⟩ / (‖Δ‖ ‖Δ'‖), None where one of them is 0. `base_norm` is ‖W‖ of the base, where it was kept.
    """

    layer: int
    base_norm: float | None
    before: float
    after: float
    difference: float
    cosine: float | None


def layer_diffs(before: Sequence[VersionRow], after: Sequence[VersionRow], load: Load) -> list[LayerDiff]:
    """By layer, for the lineages of two versions from the base's child on; `load` reads a version's blob.

    What both have in common is not in their difference: it is added up from what only one of them has.
    """
    known = {row.number for row in before} & {row.number for row in after}
    common = _Sums(load(row) for row in before if row.number in known)
    lost = _Sums(load(row) for row in before if row.number not in known)
    gained = _Sums(load(row) for row in after if row.number not in known)
    norms = _base_norms([*before, *after])
    return [
        _diff(layer, norms.get(layer), common.of(layer), lost.of(layer), gained.of(layer))
        for layer in sorted(common.layers | lost.layers | gained.layers)
    ]


class _Sums:
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

    a: Wide | None
    b: Wide | None
    dense: Wide | None

    @staticmethod
    def of(arrays: LayerArrays) -> _Delta:
        wide = [None if part is None else part.astype(np.float64) for part in (arrays.a, arrays.b, arrays.dense)]
        return _Delta(*wide)

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

    def matrix(self) -> Wide:
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
    return sum(_product(one, other) for one in first for other in second)


def _product(one: _Delta, other: _Delta) -> float:
    if one.dense is not None and other.dense is not None:
        return float(np.vdot(one.dense, other.dense))
    if one.dense is not None:
        return _product(other, one)
    assert one.a is not None
    assert one.b is not None
    if other.dense is not None:
        return float(np.vdot(one.b.T @ other.dense, one.a))
    assert other.a is not None
    assert other.b is not None
    return float(np.vdot(one.b.T @ other.b, one.a @ other.a.T))


def _diff(
    layer: int, base_norm: float | None, common: list[_Delta], lost: list[_Delta], gained: list[_Delta]
) -> LayerDiff:
    shared = _inner(common, common)
    with_lost, with_gained = _inner(common, lost), _inner(common, gained)
    lost_square, gained_square, across = _inner(lost, lost), _inner(gained, gained), _inner(lost, gained)
    before = _root(shared + 2 * with_lost + lost_square)
    after = _root(shared + 2 * with_gained + gained_square)
    both = shared + with_lost + with_gained + across
    cosine = max(-1.0, min(1.0, both / (before * after))) if before > 0 and after > 0 else None
    return LayerDiff(layer, base_norm, before, after, _root(lost_square - 2 * across + gained_square), cosine)


def _root(square: float) -> float:
    """Of a sum of products that rounding may leave a little below 0."""
    return math.sqrt(max(square, 0.0))


def _base_norms(rows: Iterable[VersionRow]) -> dict[int, float]:
    return {int(layer): norm for row in rows for layer, norm in row.provenance.get("base_norms", {}).items()}
