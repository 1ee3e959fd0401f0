"""Materialises a version that is not published yet, and gives a version's weight at one layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from workers.weights.deltas import LayerDelta
from workers.weights.matrix_cache import MatrixCache
from workers.weights.running_sums import base_sum, cast, change


def materialised(
    decoder: Decoder, versions: MatrixCache, base: int, deltas: Mapping[int, LayerDelta]
) -> dict[int, Tensor]:
    """All edited matrices of a child of version `base`: its running sums and `deltas`, cast.

    In that order and with those casts every worker will make them.
    """
    sums = versions.sums.at(base)
    own = {}
    for layer, delta in deltas.items():
        projection = decoder.projections[layer]
        total = sums[layer] if layer in sums else base_sum(projection)
        own[layer] = cast(projection, total + change(delta, total.device))
    return {**versions.get(base), **own}


def matrix_of(decoder: Decoder, matrices: Matrices, layer: int) -> Tensor:
    """The matrix at `layer` in the version `matrices`, in the module's layout; the very tensor that is held."""
    return matrices.get(layer, decoder.projections[layer].weight)


def weight_of(decoder: Decoder, matrices: Matrices, layer: int) -> Tensor:
    """W (d_out, d_in) at `layer` in the version `matrices`."""
    projection = decoder.projections[layer]
    matrix = matrix_of(decoder, matrices, layer).detach()
    return matrix.T if projection.transposed else matrix
