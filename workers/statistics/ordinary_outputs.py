"""What matrices write at ordinary text, which the cost of a change is relative to: computed once for each matrix."""

from __future__ import annotations

import weakref
from typing import Final

from torch import Tensor

from editing.covariance.statistic import Statistic
from editing.model.projection import EditableProjection
from editing.solve.layer_measures import ordinary_power

MOST_KEPT: Final = 256
"""Matrices, living or not, after which those that are gone are forgotten."""


class OrdinaryOutputs:
    """tr(W C Wᵀ) of the matrices that were asked for and are still held by somebody. For one thread at a time."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[weakref.ref[Tensor], weakref.ref[Tensor], float]] = {}

    def power(self, projection: EditableProjection, matrix: Tensor, statistic: Statistic) -> float:
        """Of `matrix`, in the module's layout and never written to, for the C0 of `statistic`."""
        factor = statistic.factor
        key = (id(matrix), id(factor))
        kept = self._kept.get(key)
        if kept is not None and kept[0]() is matrix and kept[1]() is factor:
            return kept[2]
        found = ordinary_power(matrix.detach().T if projection.transposed else matrix.detach(), factor)
        if len(self._kept) >= MOST_KEPT:
            self._kept = {key: one for key, one in self._kept.items() if one[0]() is not None}
        self._kept[key] = (weakref.ref(matrix), weakref.ref(factor), found)
        return found
