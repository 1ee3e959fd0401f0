"""What leaves a batch is taken back by the least change that keeps the rest as it is, against the formula inverted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment
from editing.solve.closed_form import solve
from editing.solve.reverting import CONDITION_LIMIT, Change, RemainingLayer, put_in, with_moved_outputs, without_columns

D_OUT, D_IN = 12, 20


def metric(seed: int = 0) -> InverseSecondMoment:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(D_IN, 200, dtype=torch.float64, generator=generator)
    return InverseSecondMoment(torch.linalg.cholesky(text @ text.T / 200))


def random(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(keys: int, mu: float, seed: int = 1) -> RemainingLayer:
    """Solved with μ, so that its outputs at its keys are not what was asked for."""
    K, R = random(D_IN, keys, seed), random(D_OUT, keys, seed + 100)
    solution = solve(K, R, metric(), mu=mu, condition_limit=float("inf"))
    delta = solution.matrix()
    return RemainingLayer(K, (Change(delta, torch.eye(D_OUT, dtype=torch.float64)),))


def total(kept: RemainingLayer) -> Tensor:
    return torch.stack([one.B @ one.A for one in kept.changes]).sum(0)


def textbook(keys: Tensor, outputs: Tensor, mu: float, pins: Tensor, at_pins: Tensor) -> Tensor:
    """The least D with D keys = outputs at μ and D pins = at_pins at μ = 0, by inverting what the formula inverts."""
    factor = metric().factor
    S = torch.linalg.inv(factor @ factor.T)
    K = torch.cat([keys, pins], 1)
    each = torch.tensor([mu] * keys.shape[1] + [0.0] * pins.shape[1], dtype=torch.float64)
    return torch.cat([outputs, at_pins], 1) @ torch.linalg.inv(K.T @ S @ K + torch.diag(each)) @ K.T @ S


def close(found: Tensor, expected: Tensor, within: float = 1e-9) -> None:
    assert float((found - expected).norm() / expected.norm()) < within


def none() -> Tensor:
    return torch.zeros(D_IN, 0, dtype=torch.float64)


@pytest.mark.parametrize("mu", [0.0, 2.5, 300.0])
@pytest.mark.parametrize("columns", [(0,), (1, 4), (5, 0, 2, 3)])
@pytest.mark.parametrize("pins", [0, 1, 4])
def test_what_leaves_is_taken_back_and_what_stays_is_not_moved(mu: float, columns: tuple[int, ...], pins: int) -> None:
    kept, at = batch(8, mu), random(D_IN, pins, 7)
    rest, change = without_columns(kept, columns, metric(), at)
    stay = [n for n in range(8) if n not in columns]
    torch.testing.assert_close(rest.keys, kept.keys[:, stay])
    assert change.A.shape == (len(columns) + pins, D_IN)
    D, before, after = change.B @ change.A, total(kept), total(rest)
    torch.testing.assert_close(after, before + D)
    scale = float(before.norm())
    assert float((after @ kept.keys[:, list(columns)]).norm()) < 1e-10 * scale
    assert float((D @ rest.keys).norm()) < 1e-10 * scale
    assert float((after @ at).norm()) < 1e-10 * scale
    wanted = torch.zeros(D_OUT, 8, dtype=torch.float64)
    wanted[:, list(columns)] = -(before @ kept.keys[:, list(columns)])
    close(D, textbook(kept.keys, wanted, 0.0, at, -(before @ at)))
    assert (change.mu_used, change.condition_number < CONDITION_LIMIT) == (0.0, True)


def test_more_keys_than_inputs_are_met_with_the_smallest_well_conditioned_mu() -> None:
    kept, at = batch(40, 0.5), random(D_IN, 2, 7)
    rest, change = without_columns(kept, (3, 30), metric(), at)
    D, before = change.B @ change.A, total(kept)
    wanted = torch.zeros(D_OUT, 40, dtype=torch.float64)
    wanted[:, [3, 30]] = -(before @ kept.keys[:, [3, 30]])
    assert change.mu_used > 0
    close(D, textbook(kept.keys, wanted, change.mu_used, at, -(before @ at)))
    assert float((total(rest) @ at).norm()) < 1e-10 * float(before.norm())
    assert change.A.shape == (4, D_IN)


def test_taking_everything_out_leaves_nothing() -> None:
    """To the last digit, also where what was published is not what its keys would give."""
    kept = batch(5, 0.3)
    own = Change(random(3, D_IN, 20), random(D_OUT, 3, 21))
    kept = replace(kept, changes=(*kept.changes, own))
    some, _ = without_columns(kept, (1,), metric(), random(D_IN, 2, 7))
    rest, change = without_columns(some, range(4), metric())
    assert rest.keys.shape == (D_IN, 0)
    close(change.B @ change.A, -total(some), 1e-14)
    assert float(total(rest).norm()) < 1e-14 * float(total(kept).norm())


def test_what_is_held_is_not_moved_either() -> None:
    held, at = random(D_IN, 5, 30), random(D_IN, 3, 7)
    kept = replace(batch(6, 2.5), held=held)
    before = total(kept)
    rest, first = without_columns(kept, (2,), metric(), at)
    more, second = put_in(rest, random(D_IN, 1, 8), random(D_OUT, 1, 9), metric())
    for change in (first, second):
        assert float((change.B @ change.A @ held).norm()) < 1e-10 * float(before.norm())
    assert float((first.B @ first.A @ at).norm()) > 0.1 * float((before @ at).norm())
    assert more.held is held


@pytest.mark.parametrize("present", [0, 5])
@pytest.mark.parametrize("pins", [0, 3])
def test_putting_in_moves_the_outputs_there_alone(present: int, pins: int) -> None:
    at = random(D_IN, pins, 7)
    kept, _ = without_columns(batch(present + 1, 1.5), (0,), metric(), at)
    keys, moved = random(D_IN, 2, 8), random(D_OUT, 2, 9)
    more, change = put_in(kept, keys, moved, metric())
    torch.testing.assert_close(more.keys, torch.cat([kept.keys, keys], 1))
    assert change.A.shape == (2, D_IN)
    wanted = torch.cat([moved.new_zeros(D_OUT, present), moved], 1)
    close(change.B @ change.A, textbook(more.keys, wanted, 0.0, at, moved.new_zeros(D_OUT, pins)))
    torch.testing.assert_close(total(more), total(kept) + change.B @ change.A)
    again, further = with_moved_outputs(more, (present + 1,), moved[:, :1], metric())
    wanted = torch.cat([moved.new_zeros(D_OUT, present + 1), moved[:, :1]], 1)
    close(further.B @ further.A, textbook(more.keys, wanted, 0.0, at, moved.new_zeros(D_OUT, pins)))
    assert float((total(again) @ at).norm()) < 1e-10 * float(total(again).norm())


def test_what_was_put_in_leaves_like_any_other() -> None:
    kept = batch(6, 0.7)
    more, there = put_in(kept, random(D_IN, 2, 8), random(D_OUT, 2, 9), metric())
    rest, back = without_columns(more, (6, 7), metric())
    torch.testing.assert_close(rest.keys, kept.keys)
    torch.testing.assert_close(rest.at(kept.keys), kept.at(kept.keys))
    torch.testing.assert_close(rest.at(more.keys[:, 6:]), torch.zeros(D_OUT, 2).double(), rtol=0, atol=1e-9)
    assert float((there.B @ there.A).norm()) > float((there.B @ there.A + back.B @ back.A).norm())


@pytest.mark.parametrize("rounded", [False, True])
def test_what_is_pinned_stays_so_whatever_leaves_later(rounded: bool) -> None:
    """Also where the older changes were rounded to the float32 of their blob since."""
    at, more_at = random(D_IN, 3, 8), random(D_IN, 2, 9)
    kept, _ = without_columns(batch(9, 1.5), (0, 5), metric(), at)
    if rounded:
        kept = replace(
            kept, changes=tuple(Change(one.A.float().double(), one.B.float().double()) for one in kept.changes)
        )
    combination = at @ random(3, 1, 10)
    rest, change = without_columns(kept, (1,), metric(), torch.cat([more_at, combination, at[:, :1] * (1 + 1e-7)], 1))
    assert rest.pins is not None
    assert rest.pins.shape[1] == 6
    within = 1e-6 if rounded else 1e-9
    assert float((total(rest) @ torch.cat([at, more_at], 1)).norm()) < within * float(total(kept).norm())
    assert float((change.B @ change.A).norm()) < 2 * float(total(kept).norm())
    if not rounded:
        assert change.A.shape[0] == 3


def test_pinning_the_same_keys_again_changes_nothing() -> None:
    at = random(D_IN, 3, 8)
    kept, _ = without_columns(batch(9, 1.5), (0,), metric(), at)
    rest, change = without_columns(kept, (), metric(), at)
    assert float((change.B @ change.A).norm()) < 1e-10 * float(total(kept).norm())
    assert rest.pins is not None
    torch.testing.assert_close(rest.pins, at)


def test_a_key_that_is_nearly_pinned_takes_the_smallest_well_conditioned_mu() -> None:
    kept = batch(6, 0.0)
    near = (kept.keys[:, 2] + 1e-5 * random(D_IN, 1, 7)[:, 0])[:, None]
    rest, change = without_columns(kept, (0,), metric(), near)
    assert 0 < change.mu_used < 1
    assert float(rest.at(near).norm()) < 1e-9 * float(kept.at(near).norm())
    others = kept.keys[:, [1, 3, 4, 5]]
    torch.testing.assert_close(rest.at(others), kept.at(others), rtol=1e-2, atol=1e-2)
    assert float(total(rest).norm()) < 10 * float(total(kept).norm())


def test_a_batch_without_keys_is_pinned_for_those_that_come() -> None:
    at = random(D_IN, 2, 7)
    kept, _ = without_columns(batch(3, 0.2), range(3), metric(), at)
    assert float(total(kept).norm()) < 1e-14
    more, change = put_in(kept, random(D_IN, 2, 8), random(D_OUT, 2, 9), metric())
    assert float((total(more) @ at).norm()) < 1e-10 * float(total(more).norm())
    assert change.A.shape[0] == 2
