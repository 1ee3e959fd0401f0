"""Taking keys out of a solved batch is the batch solved without them, putting keys in the batch solved with them, and
pinning keys the batch solved under the condition that it changes nothing there.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editing.key_metric import InverseSecondMoment
from editing.reverting import Change, KeptLayer, moved_on, outputs, pinned, put_in, replayed, taken_out
from editing.solve import CONDITION_LIMIT, solve

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
    """Δ solved at once, by inverting what the formula inverts: μ at each of the batch's keys, 0 at the pinned ones,
    whose residuals are 0."""
    factor = metric().factor
    S = torch.linalg.inv(factor @ factor.T)
    pins = kept.keys[:, :0] if kept.pins is None else kept.pins
    K = torch.cat([kept.keys, pins], 1)
    R = torch.cat([kept.residual, kept.residual.new_zeros(D_OUT, pins.shape[1])], 1)
    mu = torch.tensor([kept.mu] * kept.keys.shape[1] + [0.0] * pins.shape[1], dtype=torch.float64)
    return R @ torch.linalg.inv(K.T @ S @ K + torch.diag(mu)) @ K.T @ S


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


@pytest.mark.parametrize(("keys", "mu"), [(6, 0.0), (6, 2.5), (6, 300.0), (15, 0.1), (40, 0.5)])
@pytest.mark.parametrize("pins", [1, 4])
def test_pinning_is_solving_with_no_change_there(keys: int, mu: float, pins: int) -> None:
    kept, at = batch(keys, mu), batch(pins, mu, seed=7).keys
    more, difference = pinned(kept, at, metric())
    assert (more.mu, difference.A.shape) == (mu, (pins, D_IN))
    close(replayed(more, metric()), textbook(more))
    close(textbook(kept) + change(difference), textbook(more))
    assert float((replayed(more, metric()) @ at).norm()) < 1e-10 * float((textbook(kept) @ at).norm())
    assert float(outputs(more, at, metric()).norm()) < 1e-10 * float((textbook(kept) @ at).norm())


@pytest.mark.parametrize("mu", [0.0, 1.5])
def test_what_is_pinned_stays_so_whatever_leaves_and_comes_later(mu: float) -> None:
    new = batch(2, mu, seed=7)
    at, more_at = batch(3, mu, seed=8).keys, batch(2, mu, seed=9).keys
    kept, first = pinned(batch(8, mu), at, metric())
    rest, second = taken_out(kept, (0, 5), metric())
    close(textbook(kept) + change(second), textbook(rest))
    back, third = put_in(rest, new.keys, new.residual, metric())
    close(textbook(rest) + change(third), textbook(back))
    moved, fourth = moved_on(back, (6,), new.residual[:, :1], metric())
    close(textbook(back) + change(fourth), textbook(moved))
    twice, fifth = pinned(moved, more_at, metric())
    assert fifth.A.shape[0] == 2
    close(textbook(batch(8, mu)) + sum(map(change, (first, second, third, fourth, fifth))), textbook(twice))
    found = replayed(twice, metric()) @ torch.cat([at, more_at], 1)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-10)


def test_keys_pinned_twice_count_once() -> None:
    kept, at = batch(6, 0.3), batch(3, 0.3, seed=7).keys
    once, _ = pinned(kept, at, metric())
    twice, difference = pinned(kept, torch.cat([at, 5 * at, at[:, :1] - at[:, 1:2]], 1), metric())
    close(replayed(twice, metric()), replayed(once, metric()))
    assert difference.A.shape[0] == 3
    again, nothing = pinned(once, at, metric())
    close(replayed(again, metric()), replayed(once, metric()))
    assert float(change(nothing).norm()) < 1e-10


def test_a_key_that_is_nearly_pinned_takes_the_smallest_well_conditioned_mu() -> None:
    kept = batch(6, 0.0)
    away = batch(1, 0.0, seed=7).keys[:, 0]
    more, difference = pinned(kept, (kept.keys[:, 2] + 1e-5 * away)[:, None], metric())
    assert 0 < more.mu < 1
    projected = solve(kept.keys, kept.residual, metric(), mu=0.0)
    assert projected.condition_number < CONDITION_LIMIT
    close(textbook(kept) + change(difference), textbook(more))
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(
        replayed(more, metric()) @ kept.keys[:, others], kept.residual[:, others], rtol=1e-2, atol=1e-2
    )
    assert float(replayed(more, metric()).norm()) < 10 * float(textbook(kept).norm())


def test_a_batch_without_keys_is_pinned_for_those_that_come() -> None:
    empty, at = taken_out(batch(3, 0.2), range(3), metric())[0], batch(2, 0.2, seed=7).keys
    kept, nothing = pinned(empty, at, metric())
    assert nothing.A.shape == (0, D_IN)
    assert not replayed(kept, metric()).any()
    new = batch(2, 0.2, seed=8)
    more, difference = put_in(kept, new.keys, new.residual, metric())
    close(change(difference), textbook(more))
    assert float((change(difference) @ at).norm()) < 1e-10
