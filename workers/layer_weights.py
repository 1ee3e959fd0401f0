"""The matrices of a version that is about to be, and of its parent, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from editing.projection import EditableProjection, Matrices
from workers.context import WorkerContext
from workers.deltas import LayerDelta
from workers.materialise import add_up


def materialised(context: WorkerContext, base: int, deltas: Mapping[int, LayerDelta]) -> dict[int, Tensor]:
    """All edited matrices of a child of version `base`: added up from the model's over the whole lineage.

    In that order and with those casts every worker will make them.
    """
    projections: Sequence[EditableProjection] = context.model.decoder.projections
    ancestry = context.matrices.deltas(base)
    own = {
        layer: add_up(projections[layer], [*(older[layer] for older in ancestry if layer in older), delta])
        for layer, delta in deltas.items()
    }
    return {**context.matrices.get(base), **own}


def weight_of(context: WorkerContext, matrices: Matrices, layer: int) -> Tensor:
    """W (d_out, d_in) at `layer` in the version `matrices`."""
    projection = context.model.decoder.projections[layer]
    matrix = matrices.get(layer, projection.weight.detach())
    return matrix.T if projection.transposed else matrix
