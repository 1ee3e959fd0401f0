"""Taking keys out of a solved batch is the batch solved without them; putting keys in is the batch solved with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editing.key_metric import InverseSecondMoment
from editing.reverting import Change, KeptLayer, moved_on, put_in, replayed, taken_out
from editing.solve import solve

D_OUT, D_IN = 12, 20


def metric(seed: int = 0) -> InverseSecondMoment:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(D_IN, 200, dtype=torch.float64, generator=generator)
    return InverseSecondMoment(torch.linalg.cholesky(text @ text.T / 200))


def batch(keys: int, mu: float, seed: int = 1) -> KeptLayer:
    generator = torch.Generator().manual_seed(seed)
    K = torch.randn(D_IN, keys, dtype=torch.float64, generator=generator)
    R = torch.randn(D_OUT, keys, dtype=torch.float64, generator=generator)
    return KeptLayer(K, R, mu)


def textbook(kept: KeptLayer) -> Tensor:
    """Δ solved at once, by inverting what the formula inverts."""
    factor = metric().factor
    S = torch.linalg.inv(factor @ factor.T)
    E = kept.keys.shape[1]
    G = kept.keys.T @ S @ kept.keys + kept.mu * torch.eye(E, dtype=torch.float64)
    return kept.residual @ torch.linalg.inv(G) @ kept.keys.T @ S


def close(found: Tensor, expected: Tensor) -> None:
    assert float((found - expected).norm() / expected.norm()) < 1e-10


def change(one: Change) -> Tensor:
    return one.B @ one.A


@pytest.mark.parametrize(("keys", "mu"), [(6, 0.0), (6, 2.5), (19, 0.1), (40, 0.5)])
@pytest.mark.parametrize("columns", [(0,), (1, 4), (5, 0, 2, 3)])
def test_taking_out_is_solving_without(keys: int, mu: float, columns: tuple[int, ...]) -> None:
    kept = batch(keys, mu)
    rest, difference = taken_out(kept, columns, metric())
    stay = [n for n in range(keys) if n not in columns]
    torch.testing.assert_close(rest.keys, kept.keys[:, stay])
    torch.testing.assert_close(rest.residual, kept.residual[:, stay])
    close(textbook(kept) + change(difference), textbook(rest))
    close(replayed(rest, metric()), textbook(rest))
    assert difference.A.shape == (len(columns), D_IN)


def test_taking_everything_out_leaves_nothing() -> None:
    kept = batch(5, 0.3)
    rest, difference = taken_out(kept, range(5), metric())
    assert rest.keys.shape == (D_IN, 0)
    close(change(difference), -textbook(kept))


@pytest.mark.parametrize("mu", [0.0, 1.5])
@pytest.mark.parametrize("present", [0, 5, 30])
def test_putting_in_is_solving_with(present: int, mu: float) -> None:
    if present > D_IN and mu == 0:
        mu = 0.01
    kept, new = batch(present, mu), batch(2, mu, seed=7)
    more, difference = put_in(kept, new.keys, new.residual, metric())
    before = textbook(kept) if present else torch.zeros(D_OUT, D_IN, dtype=torch.float64)
    close(before + change(difference), textbook(more))
    if mu == 0:
        moved = change(difference) @ torch.cat([kept.keys, new.keys], 1)
        expected = torch.cat([torch.zeros(D_OUT, present, dtype=torch.float64), new.residual], 1)
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-10)


def test_taking_out_what_was_put_in_brings_the_batch_back() -> None:
    kept, new = batch(6, 0.7), batch(2, 0.7, seed=7)
    more, there = put_in(kept, new.keys, new.residual, metric())
    rest, back = taken_out(more, (6, 7), metric())
    torch.testing.assert_close(rest.residual, kept.residual)
    torch.testing.assert_close(change(there) + change(back), torch.zeros(D_OUT, D_IN).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("keys", [6, 40])
def test_moving_residuals_is_solving_for_their_sum(keys: int) -> None:
    kept, by = batch(keys, 0.4), batch(2, 0.4, seed=9).residual
    more, difference = moved_on(kept, (3, 1), by, metric())
    close(textbook(kept) + change(difference), textbook(more))
    torch.testing.assert_close(more.residual[:, 3], kept.residual[:, 3] + by[:, 0])


def test_the_batch_solved_again_is_the_batch_as_it_was_solved() -> None:
    kept = batch(9, 0.0)
    solution = solve(kept.keys, kept.residual, metric())
    close(replayed(KeptLayer(kept.keys, kept.residual, solution.mu_used), metric()), solution.matrix())
