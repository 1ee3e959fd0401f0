"""Measures a solve at one layer: memorisation error, preservation cost and relative norm, kept with every version."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.solve.closed_form import Solution


@dataclass(frozen=True)
class LayerMeasures:
    """What a solve did to one layer.

    `memorization_error` = ‖(W+Δ)K − V‖/‖V‖ with V = WK + R; `preservation_cost` = tr(ΔCΔᵀ)/tr(WCWᵀ), C with its
    shrinkage; `relative_norm` = ‖Δ‖/‖W‖ (Frobenius). EMMET, arXiv 2403.14236, section 3.
    """

    memorization_error: float
    preservation_cost: float
    relative_norm: float


def layer_measures(
    W: Tensor, K: Tensor, R: Tensor, solution: Solution, factor: Tensor, power: float | None = None
) -> LayerMeasures:
    """Measure `solution` for W (d_out, d_in), keys K (d_in, E), changes R (d_out, E), with C = factor · factorᵀ.

    `power` is `ordinary_power` of W, where it is known: for few keys it is most of the work.
    """
    W, K, R = (matrix.to(device=factor.device, dtype=torch.float64) for matrix in (W, K, R))
    delta = solution.matrix()
    if solution.A is not None and solution.B is not None and solution.A.shape[0] < W.shape[0]:
        moved = solution.B @ (solution.A @ factor)
    else:
        moved = delta @ factor
    return LayerMeasures(
        memorization_error=_ratio((delta @ K - R).norm(), (W @ K + R).norm()),
        preservation_cost=_ratio(moved.square().sum(), ordinary_power(W, factor) if power is None else power),
        relative_norm=_ratio(delta.norm(), W.norm()),
    )


def ordinary_power(W: Tensor, factor: Tensor) -> float:
    """tr(W C Wᵀ) of W (d_out, d_in): what it writes at ordinary text, squared and summed, on average."""
    return float((W.to(device=factor.device, dtype=torch.float64) @ factor).square().sum())


def _ratio(part: Tensor, whole: Tensor | float) -> float:
    return float(part) / float(whole) if float(whole) > 0 else (0.0 if float(part) == 0 else math.inf)
