"""Extreme eigenvalues of large symmetric matrices, for condition numbers, at the cost of a few products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_STEPS = 96
_TOLERANCE = 1e-9
_BREAKDOWN = 1e-12


def largest_eigenvalue(apply: Callable[[Tensor], Tensor], size: int, device: torch.device) -> float:
    """The largest eigenvalue of a symmetric positive semidefinite map v (size,) → (size,), in float64.

    Lanczos with full reorthogonalisation from a fixed start: exact where size ≤ 96, otherwise from below and, for an
    extreme eigenvalue, near to it. The smallest eigenvalue of A is 1 / that of A⁻¹.
    """
    steps = min(size, _STEPS)
    basis = torch.zeros(size, steps, dtype=torch.float64, device=device)
    diagonal, beside = torch.zeros(steps, dtype=torch.float64), torch.zeros(steps, dtype=torch.float64)
    vector = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    vector /= vector.norm()
    estimate = 0.0
    for step in range(steps):
        basis[:, step] = vector
        image = apply(vector)
        diagonal[step] = torch.dot(vector, image).cpu()
        seen = basis[:, : step + 1]
        for _ in range(2):  # once loses orthogonality to rounding, twice is enough (Kahan, Parlett)
            image = image - seen @ (seen.T @ image)
        before, estimate = estimate, float(_tridiagonal(diagonal, beside, step + 1)[-1])
        beside[step] = image.norm().cpu()
        if beside[step] <= _BREAKDOWN * abs(estimate) or (
            step > 8 and abs(estimate - before) <= _TOLERANCE * abs(estimate)
        ):
            break
        vector = image / beside[step].to(device)
    return estimate


def _tridiagonal(diagonal: Tensor, beside: Tensor, size: int) -> Tensor:
    off = beside[: size - 1]
    values: Tensor = torch.linalg.eigvalsh(torch.diag(diagonal[:size]) + torch.diag(off, 1) + torch.diag(off, -1))
    return values


def condition_number(matrix: Tensor, factor: Tensor) -> float:
    """λmax/λmin of a symmetric positive definite matrix (n, n) with Cholesky factor `factor` (lower), float64."""
    size, device = matrix.shape[0], matrix.device
    largest = largest_eigenvalue(lambda v: matrix @ v, size, device)
    return largest * largest_inverse_eigenvalue(factor, size)


def largest_inverse_eigenvalue(factor: Tensor, size: int) -> float:
    """1/λmin of the matrix whose lower Cholesky factor is `factor` (n, n), float64."""
    return largest_eigenvalue(lambda v: torch.cholesky_solve(v[:, None], factor)[:, 0], size, factor.device)
