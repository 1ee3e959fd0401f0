"""Truncated SVD of a sum of deltas: one product of low-rank factors, and the relative error of it.

The last step after solving, for an adapter (LoRA) of a version: a layer's deltas over a lineage become one pair A, B.
Whether the error may be accepted is the caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RELATIVE_ZERO = 1e-7
"""Share of the largest singular value below which one is the rounding of float32, in which deltas are stored: it counts
as 0. Above √ε of float64 (1.5e-8), to which `_svd` is exact, as it takes the roots of eigenvalues."""
ROUNDING = 1e-13
"""The same for float64, as a share of the largest ‖A‖ ‖B‖: what products that cancel each other leave behind."""


@dataclass(frozen=True)
class LowRank:
    """B A (d_out, d_in) with A (r, d_in) and B (d_out, r), float64, the best of its rank to a sum of deltas.

    `full_rank` is the rank of the sum, `error` the relative Frobenius error ‖Δ − B A‖ / ‖Δ‖, 0 where r is that rank.
    """

    A: Tensor
    B: Tensor
    full_rank: int
    error: float


def low_rank(
    factors: Sequence[tuple[Tensor, Tensor]], dense: Tensor | None, most: int, largest: float = 0.0
) -> LowRank:
    """Σ B A over `factors`, pairs (A (r, d_in), B (d_out, r)), plus `dense` (d_out, d_in), in at most `most` ranks.

    By QR of both sides side by side and an SVD of what lies between (Eckart and Young 1936: none of that rank is
    nearer), which also balances factors that a badly conditioned solve left with large entries that cancel. Where the
    ranks add up to a side of the matrix, or part of it is dense, by the eigenvectors of the smaller Gram matrix.
    `largest` is the largest ‖A‖ ‖B‖ of factors that were multiplied out into `dense`, which no longer shows how much of
    it is rounding. There is at least one of `factors` and `dense`.
    """
    shape = (factors[0][1].shape[0], factors[0][0].shape[1]) if dense is None else tuple(dense.shape)
    summed_ranks = sum(A.shape[0] for A, _ in factors)
    if dense is None and summed_ranks < min(shape):
        A = torch.cat([A.double() for A, _ in factors])
        B = torch.cat([B.double() for _, B in factors], dim=1)
        Q_B, R_B = torch.linalg.qr(B)
        Q_A, R_A = torch.linalg.qr(A.T)
        U, S, Vh = torch.linalg.svd(R_B @ R_A.T)
        U, Vh = Q_B @ U, Vh @ Q_A.T
    elif factors:
        U, S, Vh = _svd(multiplied_out(factors, None if dense is None else dense.to(torch.float64, copy=True)))
    else:
        assert dense is not None
        U, S, Vh = _svd(dense.double())
    largest = max([largest, *(float(A.norm() * B.norm()) for A, B in factors)])
    threshold = max(RELATIVE_ZERO * float(S[0]), ROUNDING * largest)
    full_rank = int(S.gt(threshold).sum())
    rank = max(1, min(most, full_rank))  # 1 even for a sum of 0: an adapter has no rank 0
    root = S[:rank].sqrt()
    truncated, total = float(S[rank:full_rank].square().sum()), float(S.square().sum())  # squared Frobenius norms
    return LowRank(
        A=root[:, None] * Vh[:rank],
        B=U[:, :rank] * root,
        full_rank=full_rank,
        error=math.sqrt(truncated / total) if total > 0 else 0.0,
    )


def multiplied_out(factors: Sequence[tuple[Tensor, Tensor]], onto: Tensor | None) -> Tensor:
    """Σ B A over at least one pair, float64: added to `onto`, which is written into, or a matrix of its own.

    Each product is added where it belongs, since as many of them as a lineage has versions may not fit into memory.
    """
    if onto is None:
        (A, B), *factors = factors
        onto = B.double() @ A.double()
    for A, B in factors:
        onto.addmm_(B.double(), A.double())
    return onto


def _svd(D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh of D from the eigenvectors of the smaller of D Dᵀ and Dᵀ D, largest first."""
    if D.shape[0] > D.shape[1]:
        V, S, Uh = _svd(D.T)
        return Uh.T, S, V.T
    eigenvalues, U = torch.linalg.eigh(D @ D.T)  # in ascending order
    S, U = eigenvalues.flip(0).clamp(min=0).sqrt(), U.flip(1)
    projected = U.T @ D
    return U, S, projected.div_(S.clamp(min=torch.finfo(S.dtype).tiny)[:, None])
