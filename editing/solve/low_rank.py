"""Compresses a sum of deltas into one product of low-rank factors, and measures the error of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RELATIVE_ZERO = 1e-7
"""Singular values below this share of the largest are float32's rounding, which deltas are kept in."""
ROUNDING = 1e-13
"""The same for what is left of factors that cancel, as a share of the largest of them."""


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
    `largest` is the largest ‖A‖ ‖B‖ of factors that were multiplied out into `dense`.
    """
    shape = (factors[0][1].shape[0], factors[0][0].shape[1]) if dense is None else tuple(dense.shape)
    ranks = sum(A.shape[0] for A, _ in factors)
    if dense is None and ranks < min(shape):
        A = torch.cat([A.double() for A, _ in factors])
        B = torch.cat([B.double() for _, B in factors], dim=1)
        left, inner_left = torch.linalg.qr(B)
        right, inner_right = torch.linalg.qr(A.T)
        U, S, Vh = torch.linalg.svd(inner_left @ inner_right.T)
        U, Vh = left @ U, Vh @ right.T
    else:
        U, S, Vh = _svd(_multiplied_out(factors, dense))
    largest = max([largest, *(float(A.norm() * B.norm()) for A, B in factors)])
    zero = max(RELATIVE_ZERO * float(S[0]), ROUNDING * largest)
    full = int(S.gt(zero).sum())
    rank = max(1, min(most, full))
    root = S[:rank].sqrt()
    lost, whole = float(S[rank:full].square().sum()), float(S.square().sum())
    return LowRank(
        A=root[:, None] * Vh[:rank],
        B=U[:, :rank] * root,
        full_rank=full,
        error=math.sqrt(lost / whole) if whole > 0 else 0.0,
    )


def _multiplied_out(factors: Sequence[tuple[Tensor, Tensor]], dense: Tensor | None) -> Tensor:
    products = [B.double() @ A.double() for A, B in factors]
    if dense is not None:
        products.append(dense.double())
    total = products[0].clone()
    for product in products[1:]:
        total += product
    return total


def _svd(D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh of D from the eigenvectors of the smaller of D Dᵀ and Dᵀ D, largest first."""
    if D.shape[0] > D.shape[1]:
        V, S, Uh = _svd(D.T)
        return Uh.T, S, V.T
    values, U = torch.linalg.eigh(D @ D.T)
    S, U = values.flip(0).clamp(min=0).sqrt(), U.flip(1)
    projected = U.T @ D
    return U, S, projected / S.clamp(min=torch.finfo(S.dtype).tiny)[:, None]
