"""Reverts columns of a solved batch: takes back what it writes at their keys, and holds what it writes at the others.

A batch's change Δ of a layer is what was published, whatever it was solved from. Without some of its columns it is
Δ' = Δ + D, and D is an edit like any other, of the same family (`editing.solve.closed_form`): the least in the
metric of S⁻¹ with

    D k = −Δ k   at the keys k that leave
    D k = 0      at the keys that stay
    D p = −Δ p   at the pinned keys p: the tokens of texts that shall be answered as if the batch had never been

the last exactly (`editing.covariance.key_metric.Pinned`), the others as nearly as `CONDITION_LIMIT` lets. D has as many
ranks as there are outputs to take back, however large the batch. Putting a column in again, with another
value, is the same with another output. All in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from editing.covariance.key_metric import KeyMetric, pinned_metric
from editing.solve.closed_form import factor_keys

CONDITION_LIMIT = 300.0
"""κ of the solve, at most; beyond it μ is raised. It is 0 for some hundred keys. Many more, or keys that are nearly
dependent, could be held better at 10⁴ as in an edit, but with a change so much larger that it harms ordinary text:
here nothing new has to be said that would be worth it (docs/decisions/0009-taking-facts-out.md)."""
_ROUNDING = 1e-7
"""Outputs, and differences of keys, that are smaller than this share of the largest are float32's rounding."""
_SAME_KEY = 1e-5
"""Keys nearer to one another than this, relative to their length, are one key in float32's rounding."""


@dataclass(frozen=True)
class Change:
    """A change of W (d_out, d_in) as B A: A (n, d_in), B (d_out, n), float64.

    `mu_used` and `condition_number` are those of its solve; 0 and 1 where nothing had to be solved.
    """

    A: Tensor
    B: Tensor
    mu_used: float = 0.0
    condition_number: float = 1.0

    def at(self, keys: Tensor) -> Tensor:
        """What it adds to the outputs at `keys` (d_in, n): (d_out, n)."""
        return self.B @ (self.A @ keys)


@dataclass(frozen=True)
class RemainingLayer:
    """What one layer of a batch is: its Δ, as the sum of `changes`, and the `keys` K (d_in, E) of its columns.

    `pins` (d_in, p) are keys at which it changes nothing; at the keys `held` (d_in, h) it goes on to write what it
    writes: they are where the facts that stay are asked for, beside the columns, and are not kept with a version.
    """

    keys: Tensor
    changes: tuple[Change, ...]
    pins: Tensor | None = None
    held: Tensor | None = None

    def at(self, keys: Tensor) -> Tensor:
        """What the batch adds to the outputs at any `keys` (d_in, n): Δ keys, (d_out, n)."""
        return torch.stack([change.at(keys) for change in self.changes]).sum(0)


def without_columns(
    remaining: RemainingLayer, columns: Sequence[int], metric: KeyMetric, pins: Tensor | None = None
) -> tuple[RemainingLayer, Change]:
    """The batch without `columns`, changing nothing at the keys `pins` (d_in, p) from now on either, and Δ' − Δ.

    A key that is pinned already is not pinned again: what differs is rounding, which needs no direction. Where nothing
    is left of the batch, Δ' = 0.
    """
    leaving = set(columns)
    leaving_index = _index(columns, remaining.keys.device)
    staying_index = _index([n for n in range(remaining.keys.shape[1]) if n not in leaving], leaving_index.device)
    extended = replace(remaining, pins=_side_by_side(remaining.pins, _not_yet_pinned(pins, remaining.pins)))
    if not len(staying_index):
        change = _negated(remaining.changes)
    else:
        # At the older pins there is nothing to take back but rounding; the new ones may be combinations of them.
        at_pins = None if extended.pins is None else -remaining.at(extended.pins)
        change = _moving_change(extended, columns, -remaining.at(remaining.keys[:, leaving_index]), metric, at_pins)
    return replace(extended, keys=remaining.keys[:, staying_index], changes=(*remaining.changes, change)), change


def put_in(
    remaining: RemainingLayer, keys: Tensor, movement: Tensor, metric: KeyMetric
) -> tuple[RemainingLayer, Change]:
    """The batch with more `keys` (d_in, n), whose outputs move by `movement` (d_out, n), and Δ' − Δ, of rank n."""
    extended = replace(remaining, keys=torch.cat([remaining.keys, keys], 1))
    return with_moved_outputs(extended, range(remaining.keys.shape[1], extended.keys.shape[1]), movement, metric)


def with_moved_outputs(
    remaining: RemainingLayer, columns: Sequence[int], movement: Tensor, metric: KeyMetric
) -> tuple[RemainingLayer, Change]:
    """The batch whose outputs at `columns` move by `movement` (d_out, n), and Δ' − Δ, of rank n."""
    change = _moving_change(remaining, columns, movement, metric)
    return replace(remaining, changes=(*remaining.changes, change)), change


def _moving_change(
    remaining: RemainingLayer,
    columns: Sequence[int],
    movement: Tensor,
    metric: KeyMetric,
    at_pins: Tensor | None = None,
) -> Change:
    """The least change by `movement` (d_out, n) at `columns`, by `at_pins` (d_out, p; None: nothing) at the pins, and
    by nothing at the other columns and where the batch is held."""
    wanted = movement if at_pins is None else torch.cat([movement, at_pins], 1)
    B = _basis(wanted)
    if not B.shape[1]:
        return Change(remaining.keys.new_zeros(0, remaining.keys.shape[0]), B)
    A = remaining.keys.new_zeros(B.shape[1], remaining.keys.shape[0])
    if remaining.pins is not None:
        pinned = pinned_metric(metric, remaining.pins)
        if at_pins is not None:
            A = pinned.meeting(B.T @ at_pins)
        metric = pinned
    keys = remaining.keys if remaining.held is None else torch.cat([remaining.keys, remaining.held], 1)
    outputs = keys.new_zeros(B.shape[1], keys.shape[1])
    outputs[:, _index(columns, keys.device)] = B.T @ movement
    factor = factor_keys(keys, metric, mu=0.0, condition_limit=CONDITION_LIMIT, d_out=B.shape[1])
    return Change(A + factor.solve(outputs - A @ keys).matrix(), B, factor.mu_used, factor.condition_number)


def _basis(outputs: Tensor) -> Tensor:
    """An orthonormal basis (d_out, n) of what the columns of `outputs` (d_out, m) span, beyond rounding."""
    U, S, _ = torch.linalg.svd(outputs, full_matrices=False)
    basis: Tensor = U[:, S.gt(_ROUNDING * S.max())] if S.numel() else U
    return basis


def _negated(changes: Sequence[Change]) -> Change:
    return Change(torch.cat([change.A for change in changes]), torch.cat([-change.B for change in changes], dim=1))


def _not_yet_pinned(pins: Tensor | None, known: Tensor | None) -> Tensor | None:
    """Those of `pins` that are not `known`."""
    if pins is None or known is None:
        return pins
    nearest = torch.cdist(pins.T, known.T).min(dim=1).values
    return pins[:, nearest.gt(_SAME_KEY * torch.linalg.vector_norm(pins, dim=0))]


def _side_by_side(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Side by side; None where there is no column."""
    present = [keys for keys in (first, second) if keys is not None and keys.shape[1]]
    return torch.cat(present, 1) if present else None


def _index(columns: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor(list(columns), dtype=torch.long, device=device)
