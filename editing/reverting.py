"""Taking keys out of a solved batch, putting others in: the change of Δ, from the keys and residuals that were kept.

For Δ = R (KᵀSK + μI)⁻¹ KᵀS = R A and the batch without some of its columns, Δ' = R' A' at the same μ, elimination by
blocks gives

    Δ' − Δ = (Δ' K_out − R_out) A_out

with A_out the rows of A that belong to the columns taken out: a change of as many ranks as columns leave, whatever the
size of the batch. Putting columns in is the same read backwards: Δ' = Δ + r A'_in, where r is what the outputs at the
new keys shall change by on top of Δ, and R' = Δ K_in + r is what is kept for them.

What is left of a batch still adds Δ' p at the keys p of a text that left: what stays blurs into it. Pinned there, the
rest is solved again under Δ' p = 0, exactly (`editing.key_metric.Pinned`), whatever μ the facts are met with. All in
float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from editing.key_metric import KeyMetric, pinned_metric
from editing.solve import CONDITION_LIMIT, KeyFactor, factor_keys

_ROUNDING = 1e-12
_SAME_KEY = 1e-5
"""Keys nearer to one another than this, relative to their length, are one key in float32's rounding."""


@dataclass(frozen=True)
class KeptLayer:
    """What one layer of a batch is solved from: keys K (d_in, E), residuals R (d_out, E), and the μ that is used.

    `pins` (d_in, p): keys at which it changes nothing; None where there are none.
    """

    keys: Tensor
    residual: Tensor
    mu: float
    pins: Tensor | None = None


@dataclass(frozen=True)
class Change:
    """A change of Δ (d_out, d_in) as B A: A (n, d_in), B (d_out, n), float64."""

    A: Tensor
    B: Tensor


def replayed(kept: KeptLayer, metric: KeyMetric) -> Tensor:
    """Δ (d_out, d_in) of the whole batch, solved again from what was kept."""
    if not kept.keys.shape[1]:
        return kept.residual.new_zeros(kept.residual.shape[0], kept.keys.shape[0])
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
    rest = replace(kept, keys=kept.keys[:, stay], residual=kept.residual[:, stay])
    rows = _rows(_factor(kept, metric), kept, columns)
    return rest, Change(rows, outputs(rest, kept.keys[:, out], metric) - kept.residual[:, out])


def put_in(kept: KeptLayer, keys: Tensor, moved: Tensor, metric: KeyMetric) -> tuple[KeptLayer, Change]:
    """The batch with more `keys` (d_in, n), whose outputs move by `moved` (d_out, n), and Δ' − Δ, of rank n.

    The outputs at the keys that were there do not move, exactly for μ = 0.
    """
    wanted = outputs(kept, keys, metric) + moved
    more = replace(kept, keys=torch.cat([kept.keys, keys], 1), residual=torch.cat([kept.residual, wanted], 1))
    columns = range(kept.keys.shape[1], more.keys.shape[1])
    return more, Change(_rows(_factor(more, metric), more, columns), moved)


def moved_on(kept: KeptLayer, columns: Sequence[int], moved: Tensor, metric: KeyMetric) -> tuple[KeptLayer, Change]:
    """The batch with `moved` (d_out, n) added to the residuals of `columns`, and Δ' − Δ, of rank n."""
    index = torch.tensor(list(columns), device=kept.keys.device)
    more = replace(kept, residual=kept.residual.index_add(1, index, moved))
    return more, Change(_rows(_factor(kept, metric), kept, columns), moved)


def pinned(kept: KeptLayer, keys: Tensor, metric: KeyMetric) -> tuple[KeptLayer, Change]:
    """The batch that changes nothing at `keys` (d_in, p) either, and Δ' − Δ, of as many ranks as Δ had outputs there.

    At the same μ, except where the batch's own keys are so near to the pinned ones that what is left of them is nearly
    dependent: then at the smallest μ that is well conditioned (`editing.solve`), which `mu` says, and Δ' − Δ may have
    any rank. A key that is pinned already is not pinned again: what differs is rounding, which needs no direction.
    """
    if kept.pins is not None:
        nearest = torch.cdist(keys.T, kept.pins.T).min(dim=1).values
        keys = keys[:, nearest.gt(_SAME_KEY * torch.linalg.vector_norm(keys, dim=0))]
    if not keys.shape[1]:
        return kept, Change(keys.new_zeros(0, keys.shape[0]), kept.residual[:, :0])
    pins = keys if kept.pins is None else torch.cat([kept.pins, keys], 1)
    if not kept.keys.shape[1]:
        return replace(kept, pins=pins), Change(keys.new_zeros(0, keys.shape[0]), kept.residual[:, :0])
    factor = factor_keys(
        kept.keys,
        pinned_metric(metric, pins),
        mu=kept.mu,
        condition_limit=CONDITION_LIMIT,
        d_out=kept.residual.shape[0],
    )
    more = replace(kept, pins=pins, mu=factor.mu_used)
    moved = factor.solve(kept.residual).matrix() - replayed(kept, metric)
    if more.mu != kept.mu:
        return more, Change(moved, torch.eye(moved.shape[0], dtype=moved.dtype, device=moved.device))
    # Elimination by blocks: Δ' − Δ = −(Δ P) A_pins, so that what it writes lies in the span of what it takes back.
    U, S, _ = torch.linalg.svd(outputs(kept, keys, metric), full_matrices=False)
    basis = U[:, S.gt(_ROUNDING * float(S[0]))]
    return more, Change(basis.T @ moved, basis)


def _factor(kept: KeptLayer, metric: KeyMetric) -> KeyFactor:
    # μ is the one that was used, and was enough then; fewer keys are no worse conditioned.
    return factor_keys(
        kept.keys, _metric(kept, metric), mu=kept.mu, condition_limit=math.inf, d_out=kept.residual.shape[0]
    )


def _metric(kept: KeptLayer, metric: KeyMetric) -> KeyMetric:
    return metric if kept.pins is None else pinned_metric(metric, kept.pins)


def _rows(factor: KeyFactor, kept: KeptLayer, columns: Sequence[int]) -> Tensor:
    """The rows of A (E, d_in) that belong to `columns`: Δ = R A for an R that is 1 there and 0 elsewhere."""
    chosen = kept.keys.new_zeros(len(columns), kept.keys.shape[1])
    for row, column in enumerate(columns):
        chosen[row, column] = 1.0
    return factor.solve(chosen).matrix()
