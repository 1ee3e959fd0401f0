"""The one solve of the whole family of methods.

    Δ = R (Kᵀ S K + μ I)⁻¹ Kᵀ S            S = F Fᵀ

minimises ‖Δ‖² in the metric of S⁻¹ while Δ K meets R: exactly for μ = 0 (ROME, EMMET), in the least-squares sense for
μ = λ > 0 (MEMIT). Gupta, Sajnani, Anumanchipalli 2024, "A Unified Framework for Model Editing", arXiv 2403.14236.

With whitened keys Y = Fᵀ K it is Δ = R (YᵀY + μI)⁻¹ Yᵀ Fᵀ = R Yᵀ (YYᵀ + μI)⁻¹ Fᵀ: the first form factors an (E, E)
matrix, the second an (r, r) one, r = rank S; the cheaper is taken. For S = C⁻¹ = L⁻ᵀL⁻¹ that is Y = L⁻¹K, and C⁻¹ is
never formed. All in float64, on the device of the metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from editing.covariance.key_metric import KeyMetric
from editing.covariance.spectrum import largest_eigenvalue, largest_inverse_eigenvalue
from editing.errors import SingularSolveError, StatisticError

CONDITION_LIMIT = 1e4
"""κ(KᵀSK + μI) above which equality is taken to be ill-posed: some of the batch's keys are nearly dependent, and
meeting them would take an update far larger than the facts need (docs/decisions/0006-how-much-equality.md)."""

Side = Literal["keys", "inputs"]


@dataclass(frozen=True)
class Solution:
    """Δ (d_out, d_in) in float64: as factors Δ = B A, A (E, d_in), B (d_out, E), or `dense` where that is smaller."""

    A: Tensor | None
    B: Tensor | None
    dense: Tensor | None
    mu_asked: float
    mu_used: float
    condition_number: float
    side: Side

    def matrix(self) -> Tensor:
        """Δ (d_out, d_in)."""
        if self.dense is not None:
            return self.dense
        if self.A is None or self.B is None:
            raise ValueError("a solution holds factors or a dense matrix")
        return self.B @ self.A


@dataclass(frozen=True)
class KeyFactor:
    """A batch's keys, factored once: Δ is linear in R, so a repair round or another R costs two products.

    On the side of the keys `rows` is (KᵀSK + μI)⁻¹ KᵀS (E, d_in). On the side of the inputs it is Y (r, E), and
    `cholesky` the lower factor of YYᵀ + μI. `condition_number` is κ(KᵀSK + μI), an upper bound where the side of the
    inputs was taken for fewer keys than inputs.
    """

    metric: KeyMetric
    rows: Tensor
    cholesky: Tensor | None
    mu_asked: float
    mu_used: float
    condition_number: float

    def solve(self, R: Tensor) -> Solution:
        """Δ for R (d_out, E), of any float dtype."""
        R = R.to(device=self.rows.device, dtype=torch.float64)
        n_keys = self.rows.shape[0 if self.cholesky is None else 1]
        if R.ndim != 2 or R.shape[1] != n_keys:
            raise ValueError(f"R has shape {tuple(R.shape)}; expected (d_out, {n_keys}), one column for each key")
        A: Tensor | None = None
        B: Tensor | None = None
        dense: Tensor | None = None
        if self.cholesky is None:
            d_in = self.rows.shape[1]
            if n_keys * (R.shape[0] + d_in) <= R.shape[0] * d_in:
                A, B = self.rows, R
            else:
                dense = R @ self.rows
        else:
            wanted = R @ self.rows.T
            dense = self.metric.unwhiten(torch.cholesky_solve(wanted.T, self.cholesky).T)
        side: Side = "keys" if self.cholesky is None else "inputs"
        return Solution(A, B, dense, self.mu_asked, self.mu_used, self.condition_number, side)


def solve(
    K: Tensor,
    R: Tensor,
    metric: KeyMetric,
    *,
    mu: float | None = None,
    mu_relative: float | None = None,
    strict: bool = False,
    condition_limit: float = CONDITION_LIMIT,
) -> Solution:
    """Δ = R (KᵀSK + μI)⁻¹ KᵀS for keys K (d_in, E) and wanted changes R (d_out, E); see `factor_keys`."""
    return factor_keys(
        K, metric, mu=mu, mu_relative=mu_relative, strict=strict, condition_limit=condition_limit, d_out=R.shape[0]
    ).solve(R)


def factor_keys(
    K: Tensor,
    metric: KeyMetric,
    *,
    mu: float | None = None,
    mu_relative: float | None = None,
    strict: bool = False,
    condition_limit: float = CONDITION_LIMIT,
    d_out: int,
) -> KeyFactor:
    """Factor KᵀSK + μI for keys K (d_in, E), E ≥ 1, of any float dtype.

    `mu_relative` gives μ as a multiple of the mean eigenvalue of KᵀSK; with neither it is 0. Where κ(KᵀSK + μI) is
    above `condition_limit`, μ is raised to the smallest value that brings it there, and `mu_used` says so; with
    `strict` SingularSolveError is raised instead. An infinite limit takes μ as it is, and raises only where there is
    no solution in float64. Raises StatisticError where K's width is not the metric's.
    """
    if mu is not None and mu_relative is not None:
        raise ValueError("give mu or mu_relative, not both")
    if K.ndim != 2 or K.shape[1] == 0:
        raise ValueError(f"K has shape {tuple(K.shape)}; expected (d_in, E) with at least one key")
    Y = _whitened(K, metric)
    n_keys = Y.shape[1]
    trace = float(Y.square().sum())
    asked = float(mu or 0.0) if mu_relative is None else mu_relative * trace / n_keys
    if not math.isfinite(trace) or not math.isfinite(asked) or asked < 0:
        raise ValueError(f"keys or μ = {asked} are not finite and non-negative; they come from a broken model or C0")
    suffices = asked > 0 and (trace + asked) / asked <= condition_limit
    if n_keys >= metric.rank or (suffices and _inputs_are_cheaper(n_keys, metric.rank, K.shape[0], d_out)):
        return _factor_inputs(Y, metric, asked, strict, condition_limit)
    return _factor_keys(Y, metric, asked, strict, condition_limit)


def _whitened(K: Tensor, metric: KeyMetric) -> Tensor:
    try:
        return metric.whiten(K.to(device=metric.device, dtype=torch.float64))
    except RuntimeError as error:
        raise StatisticError(f"keys of width {K.shape[0]} do not fit the statistic: {error}") from error


def _inputs_are_cheaper(n_keys: int, rank: int, d_in: int, d_out: int) -> bool:
    """Compare multiply-adds of both sides, whitening apart."""
    keys = 2 * n_keys**2 * rank + n_keys**3 / 6 + n_keys * rank * d_in / 2 + d_out * n_keys * d_in
    inputs = n_keys * rank**2 + rank**3 / 6 + d_out * rank * (n_keys + rank) + d_out * rank * d_in / 2
    return inputs < keys


def _factor_keys(Y: Tensor, metric: KeyMetric, asked: float, strict: bool, limit: float) -> KeyFactor:
    cholesky, used, condition = _regularised(Y.T @ Y, asked, strict, limit)
    rows = metric.unwhiten(torch.cholesky_solve(Y.T, cholesky))
    return KeyFactor(metric, rows, None, asked, used, condition)


def _regularised(G: Tensor, asked: float, strict: bool, limit: float) -> tuple[Tensor, float, float]:
    """The lower factor of G + μI, the μ used and the condition number."""
    largest = largest_eigenvalue(lambda v: G @ v, G.shape[0], G.device)
    cholesky = _cholesky(G, asked)
    smallest = _smallest(cholesky, asked)
    used, condition = _sufficient(largest, smallest, asked, limit)
    if used != asked and not strict:
        cholesky = _cholesky(G, used)
    if cholesky is None or (used != asked and strict):
        raise _refusal(G, asked, largest, smallest, limit)
    return cholesky, used, condition


def _factor_inputs(Y: Tensor, metric: KeyMetric, asked: float, strict: bool, limit: float) -> KeyFactor:
    M = Y @ Y.T
    rank, n_keys = Y.shape
    largest = largest_eigenvalue(lambda v: M @ v, rank, M.device)
    cholesky = _cholesky(M, asked) if n_keys == rank or asked > 0 else None
    smallest = _smallest(cholesky, asked) if n_keys == rank else 0.0
    used, condition = _sufficient(largest, smallest, asked, limit)
    if used != asked and not strict:
        cholesky = _cholesky(M, used)
    if cholesky is None or (strict and used != asked):
        found, least = _condition(largest, smallest, asked), largest / limit
        raise SingularSolveError(
            f"{n_keys} facts, room for {rank} independent keys in this layer, μ = {asked:.3g}: condition number "
            f"{found:.3g} is above {limit:.3g}, so they cannot all be met",
            "Send smaller batches"
            + (f", set mu to at least {least:.3g}, or turn strict off" if least > 0 else " or set a larger mu"),
        )
    return KeyFactor(metric, Y, cholesky, asked, used, condition)


def _cholesky(G: Tensor, mu: float) -> Tensor | None:
    """The lower factor of G + μI, or None where rounding leaves none. G is the same afterwards."""
    diagonal = G.diagonal().clone()
    G.diagonal().add_(mu)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(G)
    G.diagonal().copy_(diagonal)
    return factor if int(info) == 0 else None


def _smallest(cholesky: Tensor | None, mu: float) -> float:
    """The smallest eigenvalue of G from the factor of G + μI; 0 where it cannot be told from that."""
    return 0.0 if cholesky is None else max(1.0 / largest_inverse_eigenvalue(cholesky, cholesky.shape[0]) - mu, 0.0)


def _sufficient(largest: float, smallest: float, asked: float, limit: float) -> tuple[float, float]:
    """μ ≥ `asked`, the smallest for which (largest + μ)/(smallest + μ) ≤ limit, and that quotient."""
    used = asked
    if _condition(largest, smallest, asked) > limit:
        used = max(asked, (largest - limit * smallest) / (limit - 1) if math.isfinite(limit) else asked)
    return used, _condition(largest, smallest, used)


def _condition(largest: float, smallest: float, mu: float) -> float:
    return (largest + mu) / (smallest + mu) if smallest + mu > 0 else math.inf


def _refusal(G: Tensor, mu: float, largest: float, smallest: float, limit: float) -> SingularSolveError:
    norms = G.diagonal().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    alike = (G / norms[:, None] / norms[None, :]).fill_diagonal_(-1.0)
    pair = int(alike.argmax())
    first, second = sorted(divmod(pair, G.shape[0]))
    advice = f"set mu to at least {largest / limit:.3g}, or turn strict off" if math.isfinite(limit) else "set mu"
    return SingularSolveError(
        f"the keys of this batch are nearly dependent (condition number {_condition(largest, smallest, mu):.3g}, limit "
        f"{limit:.3g}, μ = {mu:.3g})",
        f"Edit them in separate batches, {advice}",
        (first, second, float(alike.max())) if G.shape[0] > 1 else None,
    )
