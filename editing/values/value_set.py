"""The values of a batch's groups, as the optimisation finds them and the solve takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Values:
    """What the solve needs, for G groups, in the groups' order; float32, or float64 for a float64 model.

    `deltas` (G, d_out) is R's transpose, `keys` (G, d_in) K's transpose, at `layer`. `states` (G, d_out) is z₀, the
    stream after `layer` at the subject's last token (of the bare prompt; `editing.values.sequences`): the wanted state
    is z₀ + δ. `losses` (G,) and `reached` (G,), bool (every target token is the argmax in all contexts) hold for
    `deltas`; `steps` (G,), int64, counts the optimiser's steps.
    """

    layer: int
    deltas: Tensor
    keys: Tensor
    states: Tensor
    losses: Tensor
    steps: Tensor
    reached: Tensor


def in_group_order(portions_done: Sequence[Values], order: Sequence[int]) -> Values:
    """`portions_done`, which hold the groups that `order` names, one after another, in the groups' order."""
    restored_order = torch.tensor(order).argsort().to(portions_done[0].deltas.device)
    joined = {
        field.name: torch.cat([getattr(values, field.name) for values in portions_done])[restored_order]
        for field in fields(Values)
        if field.name != "layer"
    }
    return Values(layer=portions_done[0].layer, **joined)
