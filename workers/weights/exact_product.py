"""Multiplies a delta's factors so that every machine gets the same bits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EXACT_BITS = 53
"""Integers of so many bits add up in float64 without rounding."""


def exact_product(B: Tensor, A: Tensor) -> Tensor:
    """B (d_out, r) times A (r, d_in), both of float32's values, in float64: the same bits whatever multiplies.

    Matrix products round as their sums are grouped, and that differs between libraries, numbers of threads and
    devices. Here each factor is cut into two slices of p bits, those of a row of B, and of a column of A, on one grid
    of a power of two. Products of slices are then integers below 2⁵³ on such a grid, which any order of adding gives
    exactly (Ozaki et al., Error-free transformations of matrix multiplication, 2012, section 3). What is added
    afterwards is added element by element. Left out is the product of the two lower slices: of each sum of r terms
    2⁻²ᵖ of what its largest term could be, p ≥ 21 up to r = 2048.
    """
    bits = (_EXACT_BITS - max(1, math.ceil(math.log2(2 * max(B.shape[1], 1))))) // 2
    B_high, B_low = _slices(B.double(), 1, bits)
    A_high, A_low = _slices(A.double(), 0, bits)
    small = torch.cat([B_high, B_low], dim=1) @ torch.cat([A_low, A_high])
    return small.add_(B_high @ A_high)


def _slices(X: Tensor, dim: int, bits: int) -> tuple[Tensor, Tensor]:
    """The upper and the next `bits` bits of X, below the largest magnitude along `dim`; float64."""
    largest = X.abs().amax(dim=dim, keepdim=True) if X.shape[dim] else X.new_zeros(())
    mantissa, _ = torch.frexp(largest)
    # The next power of two, without a function that might round: x / mantissa is exact.
    power = torch.where(largest == 0, torch.ones_like(largest), largest / mantissa)
    grid = power * 2.0**-bits
    high = torch.round(X / grid) * grid
    low_grid = grid * 2.0**-bits
    return high, torch.round((X - high) / low_grid) * low_grid
