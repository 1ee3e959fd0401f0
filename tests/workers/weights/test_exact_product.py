"""Products of a delta's factors: the same bits however their sums are grouped."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from workers.weights.exact_product import exact_product


def factors(rank: int, seed: int = 0, spread: float = 3.0) -> tuple[Tensor, Tensor]:
    """B (24, rank) and A (rank, 40) whose entries differ by orders of magnitude."""
    torch.manual_seed(seed)
    B = torch.randn(24, rank) * torch.exp(spread * torch.randn(24, rank))
    A = torch.randn(rank, 40) * torch.exp(spread * torch.randn(rank, 40))
    return B, A


@pytest.mark.parametrize("rank", [1, 7, 64, 1000])
def test_the_order_of_the_sums_changes_no_bit(rank: int) -> None:
    B, A = factors(rank)
    wanted = exact_product(B, A)
    for seed in range(5):
        order = torch.randperm(rank, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(exact_product(B[:, order], A[order]), wanted)
    assert torch.equal(exact_product(A.T.contiguous(), B.T.contiguous()).T, wanted)
    assert torch.equal(exact_product(B[:5], A[:, :3]), wanted[:5, :3])


def test_it_is_the_product_far_beyond_the_precision_of_a_weight() -> None:
    B, A = factors(9, seed=1)
    found = exact_product(B, A)
    for row in range(0, 24, 5):
        for column in range(0, 40, 7):
            terms = [Fraction(float(B[row, k])) * Fraction(float(A[k, column])) for k in range(9)]
            largest = Fraction(float(B[row].abs().max())) * Fraction(float(A[:, column].abs().max()))
            assert abs(Fraction(float(found[row, column])) - sum(terms)) <= 9 * largest * Fraction(1, 2**42)


def test_rows_of_zeros_and_tiny_and_huge_numbers() -> None:
    B = torch.tensor([[0.0, 0.0], [1e-45, 0.0], [3e38, -3e38]])
    A = torch.tensor([[1.0, 0.0, 3e38], [0.5, 0.0, 3e38]])
    assert torch.equal(exact_product(B, A), B.double() @ A.double())
    assert torch.equal(exact_product(torch.zeros(3, 0), torch.zeros(0, 4)), torch.zeros(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("broken", [float("inf"), float("nan")])
def test_what_is_not_finite_stays_so(broken: float) -> None:
    B, A = factors(3)
    B[2, 1] = broken
    found = exact_product(B, A)
    assert not bool(torch.isfinite(found[2]).any())
    assert bool(torch.isfinite(found[3]).all())
