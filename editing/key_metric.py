"""The metric S in which keys are compared: which part of them ordinary text uses. Each method names its own.

S = C⁻¹ serves ROME, MEMIT and EMMET. Another S (a projector, or one with the keys of earlier batches) is another class
with these few members; the solve does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class KeyMetric(Protocol):
    """S = F Fᵀ (d_in, d_in), positive semidefinite of rank r, as maps by F."""

    @property
    def rank(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def whiten(self, K: Tensor) -> Tensor:
        """Fᵀ K: (d_in, n) → (r, n)."""
        ...

    def unwhiten(self, X: Tensor) -> Tensor:
        """X Fᵀ: (n, r) → (n, d_in)."""
        ...


@dataclass(frozen=True)
class InverseSecondMoment:
    """S = C⁻¹ by the lower Cholesky factor L of C, (d_in, d_in), float64: F = L⁻ᵀ."""

    factor: Tensor

    @property
    def rank(self) -> int:
        return self.factor.shape[0]

    @property
    def device(self) -> torch.device:
        return self.factor.device

    def whiten(self, K: Tensor) -> Tensor:
        Y: Tensor = torch.linalg.solve_triangular(self.factor, K, upper=False)
        return Y

    def unwhiten(self, X: Tensor) -> Tensor:
        XF: Tensor = torch.linalg.solve_triangular(self.factor, X, upper=False, left=False)
        return XF
