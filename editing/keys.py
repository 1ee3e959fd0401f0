"""Keys: the projection's input at the subject's last token, one for each group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.contexts import Context
from editing.decoder import Decoder
from editing.facts import SubjectGroup
from editing.lower import Lower, context_prefix, run_lower
from editing.projection import Matrices
from editing.rows import BARE, Row, rows_of, subject_only


@dataclass(frozen=True)
class SubjectStates:
    """`keys` by layer, each (G, d_in), and `stream` (G, d_out) after the last layer asked for, in the bare prompts."""

    keys: dict[int, Tensor]
    stream: Tensor


def subject_states(
    decoder: Decoder,
    matrices: Matrices,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    key_layers: Iterable[int],
    stream_layer: int,
) -> SubjectStates:
    """Keys and states of `groups` in the version `matrices`; no optimisation.

    A key is ½ the bare prompt's + ½ the mean over contexts (the authors' weights), and the mean over a group's facts.
    """
    layers = frozenset(key_layers)
    rows = [subject_only(row) for row in rows_of(groups, len(contexts), kl_factor=0.0)]
    shared = context_prefix(decoder, matrices, contexts, stream_layer + 1)
    lower = run_lower(decoder, matrices, shared, rows, stream_layer, layers, steps_from=None)
    return SubjectStates(
        keys={layer: mean_keys(rows, lower, layer, len(groups)) for layer in layers},
        stream=bare_states(rows, lower, len(groups)),
    )


def mean_keys(rows: Sequence[Row], lower: Sequence[Lower], layer: int, groups: int) -> Tensor:
    """Weighted mean (G, d_in) of the projection's inputs at the subject's last token, float32 (float64 if they are)."""
    inputs = torch.stack([part.inputs[layer] for part in lower])
    inputs = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
    weights = torch.tensor([row.key_weight for row in rows], dtype=inputs.dtype, device=inputs.device)
    index = torch.tensor([row.group for row in rows], device=inputs.device)
    return inputs.new_zeros(groups, inputs.shape[1]).index_add(0, index, inputs * weights[:, None])


def bare_states(rows: Sequence[Row], lower: Sequence[Lower], groups: int) -> Tensor:
    """z₀ (G, d_out): the stream at the subject's last token in the bare prompt, mean over a group's facts."""
    bare = [number for number, row in enumerate(rows) if row.context == BARE and row.key_weight > 0]
    states = torch.stack([lower[number].state for number in bare])
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    index = torch.tensor([rows[number].group for number in bare], device=states.device)
    total = states.new_zeros(groups, states.shape[1]).index_add(0, index, states)
    return total / torch.bincount(index, minlength=groups)[:, None]
