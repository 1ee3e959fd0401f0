"""A version's matrix by its definition: base plus deltas, without anything that the workers hold on to."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from editing.model.projection import EditableProjection
from workers.weights.deltas import LayerDelta
from workers.weights.running_sums import base_sum, cast, change


def sum_deltas(projection: EditableProjection, deltas: Sequence[LayerDelta]) -> Tensor:
    """Base plus `deltas` in their order: accumulated in float64, cast once, in the module's layout."""
    total = base_sum(projection)
    for delta in deltas:
        total += change(delta, total.device)
    return cast(projection, total)
