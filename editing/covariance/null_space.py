"""The metrics S of AlphaEdit: a projector onto what ordinary text hardly uses, and past keys within it.

Fang et al. 2024, "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models", arXiv 2410.02355, section
3. With P the projector onto the eigenvectors of C whose eigenvalues are below a threshold, their update is

    Δ = R Kᵀ P (K_p K_pᵀ P + K Kᵀ P + α I)⁻¹,

which is the one solve with S = P (P K_p K_pᵀ P + α I)⁻¹ P and μ = 1 (docs/mathematics.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.covariance.key_metric import KeyMetric
from editing.covariance.protected import WithPastKeys
from editing.covariance.statistic import Statistic
from editing.errors import StatisticError


@dataclass(frozen=True)
class NullSpace:
    """S = P/α, P = U Uᵀ: `directions` U (d_in, r), orthonormal, `scale` 1/√α."""

    directions: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return int(self.directions.shape[1])

    @property
    def device(self) -> torch.device:
        return self.directions.device

    def whiten(self, K: Tensor) -> Tensor:
        return self.scale * (self.directions.T @ K)

    def unwhiten(self, X: Tensor) -> Tensor:
        return self.scale * (X @ self.directions.T)


def null_space_metric(
    statistic: Statistic, threshold: float, alpha: float, past_keys: Tensor | None = None
) -> KeyMetric:
    """P/α for the eigenvectors of C with eigenvalues at most `threshold` of the largest, and past keys in it.

    P (P K_pK_pᵀ P + αI)⁻¹ P is P/α with each past key weighing 1: whitened by U/√α it is (I + Y Yᵀ)⁻¹. Raises
    StatisticError where no direction is below the threshold.
    """
    eigenvalues, eigenvectors = torch.linalg.eigh(statistic.C)
    unused = eigenvalues <= threshold * eigenvalues[-1]
    if not bool(unused.any()):
        least = float(eigenvalues[0] / eigenvalues[-1])
        raise StatisticError(
            f"C0 of layer {statistic.layer} has no direction that ordinary text hardly uses: its smallest eigenvalue "
            f"is {least:.3g} of the largest, null_space_threshold is {threshold:g}; set it above that"
        )
    metric = NullSpace(eigenvectors[:, unused], 1 / math.sqrt(alpha))
    return metric if past_keys is None or past_keys.shape[1] == 0 else WithPastKeys(metric, past_keys, weight=1.0)
