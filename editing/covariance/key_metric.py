"""The metric S in which keys are compared: which part of them ordinary text uses. Each method names its own.

S = C⁻¹ serves ROME, MEMIT and EMMET. Another S (a projector, or one with the keys of earlier batches) is another class
with these few members, made by the function that a method's row names (`editing.covariance.method_metric`); the solve
does not change. `Pinned` is such a one: whatever is solved in it gives exactly 0 at chosen keys, and is otherwise as
near to what was asked as before.
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


DEPENDENT = 1e-7
"""Directions of whitened keys, each of length 1, with a singular value below this share of the largest are rounding."""


@dataclass(frozen=True)
class Pinned:
    """S' = S − S P (PᵀSP)⁻¹ PᵀS for keys P (d_in, p): every Δ solved in it has Δ P = 0, and is the least
    in the metric of S⁻¹ that has.

    With S = F Fᵀ and `directions` Q (r, p'), an orthonormal basis of FᵀP, that is S' = F (I − QQᵀ) Fᵀ: the limit of a
    joint solve with residual 0 at P as the μ of those columns alone goes to 0, without that solve's condition number.
    `combinations` (p, p') are those of the pinned keys that Q is: FᵀP · combinations = Q.
    """

    inner: KeyMetric
    directions: Tensor
    combinations: Tensor

    @property
    def rank(self) -> int:
        return self.inner.rank - self.directions.shape[1]

    @property
    def device(self) -> torch.device:
        return self.inner.device

    def whiten(self, K: Tensor) -> Tensor:
        Y = self.inner.whiten(K)
        return Y - self.directions @ (self.directions.T @ Y)

    def unwhiten(self, X: Tensor) -> Tensor:
        return self.inner.unwhiten(X - (X @ self.directions) @ self.directions.T)

    def meeting(self, outputs: Tensor) -> Tensor:
        """The least D (n, d_in) in the metric of S⁻¹ with D P = `outputs` (n, p), which are linear in P as some Δ P is.

        What is added to D in the pinned metric leaves those outputs as they are, and both are orthogonal.
        """
        return self.inner.unwhiten((outputs @ self.combinations) @ self.directions.T)


def pinned_metric(metric: KeyMetric, keys: Tensor) -> Pinned:
    """`metric` (not itself a pinned one) with the `keys` (d_in, p), p ≥ 1, float64, pinned."""
    Y = metric.whiten(keys.to(metric.device))
    lengths = torch.linalg.vector_norm(Y, dim=0).clamp(min=torch.finfo(Y.dtype).tiny)
    U, S, Vh = torch.linalg.svd(Y / lengths, full_matrices=False)
    independent = S.gt(DEPENDENT * float(S[0]))
    return Pinned(metric, U[:, independent], Vh[independent].T / S[independent] / lengths[:, None])
