"""Computes keys: the projection's input at the subject's last token, one for each group of facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.lower_run import LowerStates, context_prefix, run_lower
from editing.values.sequences import ValueSequence, sequences_of, subject_only


@dataclass(frozen=True)
class SubjectStates:
    """`keys` by layer, each (G, d_in), and `stream` (G, d_out) after the last layer asked for, as z₀ is read."""

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

    The weights of a key's and a state's sequences are those of `editing.values.sequences.sequences_of`.
    """
    layers = frozenset(key_layers)
    sequences = [subject_only(sequence) for sequence in sequences_of(groups, contexts, kl_factor=0.0)]
    shared = context_prefix(decoder, matrices, contexts, stream_layer + 1)
    lower = run_lower(decoder, matrices, shared, sequences, stream_layer, layers, steps_from=None)
    return SubjectStates(
        keys={layer: mean_keys(sequences, lower, layer, len(groups)) for layer in layers},
        stream=mean_states(sequences, lower, len(groups)),
    )


def mean_keys(sequences: Sequence[ValueSequence], lower: Sequence[LowerStates], layer: int, groups: int) -> Tensor:
    """Weighted mean (G, d_in) of the projection's inputs at the subject's last token, float32 (float64 if they are)."""
    return _weighted(
        [part.inputs[layer] for part in lower], [sequence.key_weight for sequence in sequences], sequences, groups
    )


def mean_states(sequences: Sequence[ValueSequence], lower: Sequence[LowerStates], groups: int) -> Tensor:
    """z₀ (G, d_out): the weighted mean of the stream at the subject's last token."""
    return _weighted(
        [part.state for part in lower], [sequence.state_weight for sequence in sequences], sequences, groups
    )


def _weighted(
    parts: Sequence[Tensor], weights: Sequence[float], sequences: Sequence[ValueSequence], groups: int
) -> Tensor:
    """Σ weight · part by group, (groups, width); what has no weight is not looked at."""
    some = [number for number, weight in enumerate(weights) if weight > 0]
    stacked = torch.stack([parts[number] for number in some])
    stacked = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
    share = torch.tensor([weights[number] for number in some], dtype=stacked.dtype, device=stacked.device)
    index = torch.tensor([sequences[number].group for number in some], device=stacked.device)
    return stacked.new_zeros(groups, stacked.shape[1]).index_add(0, index, stacked * share[:, None])
