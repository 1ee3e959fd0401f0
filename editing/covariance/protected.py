"""Metrics that know the keys of facts edited earlier: what is written next leaves those as they are, or nearly.

With past keys K_p (d_in, p), `S' = (S⁻¹ + w K_p K_pᵀ)⁻¹` weighs each of them like w times the mean of ordinary text:
with w = 1/μ a batch solved in it on top of the earlier ones is the least-squares solution of all batches together (a
recursive least-squares step). Nothing of that size is inverted: with whitened past keys Y = FᵀK_p = U diag(s) Vᵀ,

    S' = F (I + w Y Yᵀ)⁻¹ Fᵀ,        (I + w Y Yᵀ)^(−1/2) = I − U diag(1 − 1/√(1 + w s²)) Uᵀ.

As w grows this becomes `editing.covariance.key_metric.Pinned`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from editing.covariance.key_metric import DEPENDENT, KeyMetric, pinned_metric


@dataclass(frozen=True)
class Protected:
    """S' = F (I + w Y Yᵀ)⁻¹ Fᵀ of the metric `inner`, S = F Fᵀ.

    `directions` (r, q) are orthonormal, `shrunk` (q,), in 0 to 1, says how much of each is taken away.
    """

    inner: KeyMetric
    directions: Tensor
    shrunk: Tensor

    @property
    def rank(self) -> int:
        return self.inner.rank

    @property
    def device(self) -> torch.device:
        return self.inner.device

    def whiten(self, K: Tensor) -> Tensor:
        Y = self.inner.whiten(K)
        return Y - self.directions @ (self.shrunk[:, None] * (self.directions.T @ Y))

    def unwhiten(self, X: Tensor) -> Tensor:
        return self.inner.unwhiten(X - ((X @ self.directions) * self.shrunk) @ self.directions.T)


def protected_metric(metric: KeyMetric, past_keys: Tensor, weight: float) -> Protected:
    """`metric` with `past_keys` (d_in, p), p ≥ 1, any float dtype, each weighing `weight` ≥ 0 means of text."""
    directions, singular = principal_directions(metric.whiten(past_keys.to(metric.device, torch.float64)))
    return Protected(metric, directions, 1 - (1 + weight * singular.square()).rsqrt())


def principal_directions(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (r, q) and values (q,) of Y (r, p), float64, without what is rounding.

    By the eigenvalues of the smaller of YᵀY and YYᵀ: some ten times faster than a singular value decomposition, and
    exact enough, since a direction of little length is hardly shrunk, whichever way it points.
    """
    if Y.shape[1] >= Y.shape[0]:
        squares, directions = torch.linalg.eigh(Y @ Y.T)
        kept = squares > DEPENDENT * squares[-1]
        return directions[:, kept], squares[kept].sqrt()
    squares, right = torch.linalg.eigh(Y.T @ Y)
    kept = squares > DEPENDENT * squares[-1]
    singular = squares[kept].sqrt()
    return Y @ right[:, kept] / singular, singular


ALIKE = 0.9
"""A past key whose cosine with one of the batch's keys, both whitened, is above this is that subject's own: the batch
corrects it, or says more of the same subject, and is not held back there."""


@dataclass(frozen=True)
class WithPastKeys:
    """`inner` with the keys (d_in, p) of facts edited earlier, each weighing `weight` means of ordinary text; None pins
    them. What it is depends on the batch that is solved in it: see `beside`."""

    inner: KeyMetric
    past_keys: Tensor
    weight: float | None

    @property
    def rank(self) -> int:
        return self.inner.rank

    @property
    def device(self) -> torch.device:
        return self.inner.device

    def whiten(self, K: Tensor) -> Tensor:
        return self.inner.whiten(K)

    def unwhiten(self, X: Tensor) -> Tensor:
        return self.inner.unwhiten(X)

    def beside(self, keys: Tensor) -> KeyMetric:
        """The metric for a batch with `keys` (d_in, E): past keys like one of these are left out."""
        own = _of_length_one(self.inner.whiten(keys.to(self.device, torch.float64)))
        past = self.past_keys.to(self.device, torch.float64)
        alike = (_of_length_one(self.inner.whiten(past)).T @ own).abs().amax(1) > ALIKE
        others = past[:, ~alike]
        if others.shape[1] == 0:
            return self.inner
        if self.weight is None:
            return pinned_metric(self.inner, others)
        return protected_metric(self.inner, others, self.weight)


def beside(metric: KeyMetric, keys: Tensor) -> KeyMetric:
    """`metric` as a batch with `keys` (d_in, E) is solved in it."""
    return metric.beside(keys) if isinstance(metric, WithPastKeys) else metric


def _of_length_one(Y: Tensor) -> Tensor:
    unit: Tensor = Y / torch.linalg.vector_norm(Y, dim=0).clamp(min=torch.finfo(Y.dtype).tiny)
    return unit
