"""Materialises a version that is not published yet, and gives a version's weight at one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import EditableProjection, Matrices
from workers.weights.deltas import LayerDelta
from workers.weights.matrix_cache import MatrixCache, sum_deltas


def materialised(
    decoder: Decoder, versions: MatrixCache, base: int, deltas: Mapping[int, LayerDelta]
) -> dict[int, Tensor]:
    """All edited matrices of a child of version `base`: added up from the model's over the whole lineage.

    In that order and with those casts every worker will make them.
    """
    projections: Sequence[EditableProjection] = decoder.projections
    ancestry = versions.deltas(base)
    own = {
        layer: sum_deltas(projections[layer], [*(older[layer] for older in ancestry if layer in older), delta])
        for layer, delta in deltas.items()
    }
    return {**versions.get(base), **own}


def weight_of(decoder: Decoder, matrices: Matrices, layer: int) -> Tensor:
    """W (d_out, d_in) at `layer` in the version `matrices`."""
    projection = decoder.projections[layer]
    matrix = matrices.get(layer, projection.weight.detach())
    return matrix.T if projection.transposed else matrix
