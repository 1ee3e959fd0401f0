"""Taking keys out of a solved batch, putting others in: the change of Δ, from the keys and residuals that were kept.

For Δ = R (KᵀSK + μI)⁻¹ KᵀS = R A and the batch without some of its columns, Δ' = R' A' at the same μ, elimination by
blocks gives

    Δ' − Δ = (Δ' K_out − R_out) A_out

with A_out the rows of A that belong to the columns taken out: a change of as many ranks as columns leave, whatever the
size of the batch. Putting columns in is the same read backwards: Δ' = Δ + r A'_in, where r is what the outputs at the
new keys shall change by on top of Δ, and R' = Δ K_in + r is what is kept for them. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.key_metric import KeyMetric
from editing.solve import KeyFactor, factor_keys


@dataclass(frozen=True)
class KeptLayer:
    """What one layer of a batch was solved from: keys K (d_in, E), residuals R (d_out, E), and the μ that was used."""

    keys: Tensor
    residual: Tensor
    mu: float


@dataclass(frozen=True)
class Change:
    """A change of Δ (d_out, d_in) as B A: A (n, d_in), B (d_out, n), float64."""

    A: Tensor
    B: Tensor


def replayed(kept: KeptLayer, metric: KeyMetric) -> Tensor:
    """Δ (d_out, d_in) of the whole batch, solved again from what was kept."""
    return _factor(kept, metric).solve(kept.residual).matrix()


def outputs(kept: KeptLayer, keys: Tensor, metric: KeyMetric) -> Tensor:
    """What the batch's Δ adds to the projection's outputs at any `keys` (d_in, n): Δ keys, (d_out, n)."""
    if not kept.keys.shape[1]:
        return kept.residual.new_zeros(kept.residual.shape[0], keys.shape[1])
    solution = _factor(kept, metric).solve(kept.residual)
    if solution.A is not None and solution.B is not None:
        return solution.B @ (solution.A @ keys)
    return solution.matrix() @ keys


def taken_out(kept: KeptLayer, columns: Sequence[int], metric: KeyMetric) -> tuple[KeptLayer, Change]:
    """The batch without `columns`, and Δ' − Δ, of rank len(columns)."""
    leaving = set(columns)
    out = torch.tensor(list(columns), device=kept.keys.device)
    stay = torch.tensor([n for n in range(kept.keys.shape[1]) if n not in leaving], dtype=torch.long, device=out.device)
    rest = KeptLayer(kept.keys[:, stay], kept.residual[:, stay], kept.mu)
    rows = _rows(_factor(kept, metric), kept, columns)
    return rest, Change(rows, outputs(rest, kept.keys[:, out], metric) - kept.residual[:, out])


def put_in(kept: KeptLayer, keys: Tensor, moved: Tensor, metric: KeyMetric) -> tuple[KeptLayer, Change]:
    """The batch with more `keys` (d_in, n), whose outputs move by `moved` (d_out, n), and Δ' − Δ, of rank n.

    The outputs at the keys that were there do not move, exactly for μ = 0.
    """
    wanted = outputs(kept, keys, metric) + moved
    more = KeptLayer(torch.cat([kept.keys, keys], 1), torch.cat([kept.residual, wanted], 1), kept.mu)
    columns = range(kept.keys.shape[1], more.keys.shape[1])
    return more, Change(_rows(_factor(more, metric), more, columns), moved)


def moved_on(kept: KeptLayer, columns: Sequence[int], moved: Tensor, metric: KeyMetric) -> tuple[KeptLayer, Change]:
    """The batch with `moved` (d_out, n) added to the residuals of `columns`, and Δ' − Δ, of rank n."""
    index = torch.tensor(list(columns), device=kept.keys.device)
    more = KeptLayer(kept.keys, kept.residual.index_add(1, index, moved), kept.mu)
    return more, Change(_rows(_factor(kept, metric), kept, columns), moved)


def _factor(kept: KeptLayer, metric: KeyMetric) -> KeyFactor:
    # μ is the one that was used, and was enough then; fewer keys are no worse conditioned.
    return factor_keys(kept.keys, metric, mu=kept.mu, condition_limit=math.inf, d_out=kept.residual.shape[0])


def _rows(factor: KeyFactor, kept: KeptLayer, columns: Sequence[int]) -> Tensor:
    """The rows of A (E, d_in) that belong to `columns`: Δ = R A for an R that is 1 there and 0 elsewhere."""
    chosen = kept.keys.new_zeros(len(columns), kept.keys.shape[1])
    for row, column in enumerate(columns):
        chosen[row, column] = 1.0
    return factor.solve(chosen).matrix()
