"""Sums of deltas in few factors: exact at their rank, the best there is below it, with the error told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editing.solve.low_rank import low_rank

D_OUT, D_IN = 24, 40


def pairs(*ranks: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(rank, D_IN, generator=generator), torch.randn(D_OUT, rank, generator=generator)) for rank in ranks
    ]


def total(factors: list[tuple[Tensor, Tensor]], dense: Tensor | None = None) -> Tensor:
    parts = [B.double() @ A.double() for A, B in factors] + ([] if dense is None else [dense.double()])
    return torch.stack(parts).sum(0)


@pytest.mark.parametrize("ranks", [(3,), (2, 5, 1), (10, 12), (20, 20)])
def test_at_its_rank_it_is_exact(ranks: tuple[int, ...]) -> None:
    factors = pairs(*ranks)
    found = low_rank(factors, None, most=1000)
    assert found.full_rank == min(sum(ranks), D_OUT)
    assert found.A.shape == (found.full_rank, D_IN)
    assert found.error == 0.0
    torch.testing.assert_close(found.B @ found.A, total(factors), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ranks", [(6, 6), (30, 3)])
def test_below_its_rank_it_is_the_best_and_tells_the_error(ranks: tuple[int, ...]) -> None:
    factors = pairs(*ranks)
    found = low_rank(factors, None, most=4)
    exact = total(factors)
    assert found.A.shape == (4, D_IN)
    values = torch.linalg.svdvals(exact)
    best = float(values[4:].norm() / values.norm())
    assert found.error == pytest.approx(best, rel=1e-6)
    assert float((exact - found.B @ found.A).norm() / exact.norm()) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("tall", [False, True])
def test_dense_parts_are_taken_in(tall: bool) -> None:
    factors = [(B.T.contiguous(), A.T.contiguous()) for A, B in pairs(2)] if tall else pairs(2)
    shape = (D_IN, D_OUT) if tall else (D_OUT, D_IN)
    dense = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    found = low_rank(factors, dense, most=100)
    assert found.full_rank == D_OUT
    torch.testing.assert_close(found.B @ found.A, total(factors, dense), rtol=1e-6, atol=1e-6)
    assert low_rank([], dense, 100).A.shape == found.A.shape


def test_what_was_taken_out_again_costs_no_rank() -> None:
    (A, B), (C, D) = pairs(5, 3)
    found = low_rank([(A, B), (C, D), (C, -D)], None, most=100)
    assert (found.full_rank, found.error) == (5, 0.0)
    nothing = low_rank([(A, B), (A, -B)], None, most=100)
    assert (nothing.A.shape[0], nothing.error) == (1, 0.0)
    torch.testing.assert_close(nothing.B @ nothing.A, torch.zeros(D_OUT, D_IN).double(), rtol=0, atol=1e-9)


def test_large_entries_that_cancel_are_gone() -> None:
    ((A, B),) = pairs(4)
    mix = torch.tensor([[1.0, 1e4], [0.0, 1.0]]).double().kron(torch.eye(2).double())
    found = low_rank([(mix @ A.double(), B.double() @ torch.linalg.inv(mix))], None, most=100)
    torch.testing.assert_close(found.B @ found.A, total([(A, B)]), rtol=1e-8, atol=1e-8)
    assert float(found.A.abs().max()) < 100
