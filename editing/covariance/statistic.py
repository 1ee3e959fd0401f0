"""C0: the second moment of a layer's keys over ordinary text, with its Cholesky factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.covariance.spectrum import condition_number
from editing.errors import FingerprintMismatchError, StatisticError

CONDITION_LIMIT = 1e10
"""κ(C) above which a factor of C, and what is solved with it, loses more digits than float32 weights have."""

_SHRINKAGES = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Statistic:
    """C = Σ k kᵀ / n + shrinkage · tr(Σ k kᵀ / n)/d_in · I at one layer, for exact weights (docs/mathematics.md, C0).

    `C` and `factor` (lower, C = factor · factorᵀ) are (d_in, d_in), float64. `tokens` is n, `corpus` says over which
    text, `fingerprint` for which weights, `condition` is κ(C).
    """

    layer: int
    C: Tensor
    factor: Tensor
    tokens: int
    corpus: str
    fingerprint: str
    shrinkage: float
    condition: float

    @property
    def d_in(self) -> int:
        return int(self.C.shape[0])

    def require(self, fingerprint: str, layer: int) -> None:
        """Raise FingerprintMismatchError or StatisticError unless this belongs to those weights and that layer."""
        if self.fingerprint != fingerprint:
            raise FingerprintMismatchError(
                f"C0 of layer {self.layer} belongs to weights {self.fingerprint[:12]}…, the model has "
                f"{fingerprint[:12]}…; prepare the statistic for this model"
            )
        if self.layer != layer:
            raise StatisticError(f"C0 of layer {self.layer} was given where layer {layer}'s is needed")


def make_statistic(
    moment: Tensor, *, layer: int, tokens: int, corpus: str, fingerprint: str, shrinkage: float | None = None
) -> Statistic:
    """Factor the plain second moment Σ k kᵀ / n (d_in, d_in), float64, after shrinkage.

    Without `shrinkage`, the smallest of 0, 1e-8, 1e-7, … 1e-2 is used that keeps κ(C) at most 1e10. Raises
    StatisticError where C is not finite, or not positive definite with the shrinkage asked for.
    """
    if not bool(torch.isfinite(moment).all()):
        raise StatisticError(f"C0 of layer {layer} is not finite; the model overflows on this text, load it in float32")
    unit = float(moment.diagonal().mean())
    if unit <= 0:
        raise StatisticError(f"C0 of layer {layer} is zero: no key of this layer was ever active on {corpus}")
    for epsilon in _SHRINKAGES if shrinkage is None else (shrinkage,):
        C = moment.clone()
        C.diagonal().add_(epsilon * unit)
        factor, info = torch.linalg.cholesky_ex(C)
        if int(info) != 0:
            continue
        condition = condition_number(C, factor)
        if shrinkage is not None or (math.isfinite(condition) and condition <= CONDITION_LIMIT):
            return Statistic(layer, C, factor, tokens, corpus, fingerprint, epsilon, condition)
    raise StatisticError(
        f"C0 of layer {layer} from {tokens} tokens is not positive definite with shrinkage "
        f"{_SHRINKAGES[-1] if shrinkage is None else shrinkage}; use more tokens or more shrinkage"
    )
