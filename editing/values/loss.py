"""The loss of values: NLL of the targets, and KL of the next token after the essence prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from editing.values.sequences import ValueSequence

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class LossPositions:
    """Where a packed sequence's logits are read, `token` (positions,), int64, and for which `group` (positions,).

    The first `labels.shape[0]` of them predict `labels` with `weights` in their groups' losses; the others are read for
    KL.
    """

    token: Tensor
    group: Tensor
    labels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Loss:
    """A packed batch's part of its groups' losses: `loss` (groups,), and `reached` (groups,), bool: every label is the
    argmax."""

    loss: Tensor
    reached: Tensor


def loss_positions(
    sequences: Sequence[ValueSequence], first_tokens: Sequence[int], dtype: torch.dtype, device: torch.device
) -> LossPositions:
    """The loss positions of `sequences`, whose suffixes begin at `first_tokens` of the packed sequence."""
    target_positions = [
        (first + sequence.first_predicting + offset, sequence.group, label, sequence.loss_weight / len(sequence.labels))
        for sequence, first in zip(sequences, first_tokens, strict=True)
        for offset, label in enumerate(sequence.labels)
    ]
    essence_positions = [
        (first, sequence.group) for sequence, first in zip(sequences, first_tokens, strict=True) if not sequence.labels
    ]
    token_and_group = torch.tensor([position[:2] for position in target_positions] + essence_positions, device=device)
    return LossPositions(
        token=token_and_group[:, 0],
        group=token_and_group[:, 1],
        labels=torch.tensor([position[2] for position in target_positions], dtype=torch.long, device=device),
        weights=torch.tensor([position[3] for position in target_positions], dtype=dtype, device=device),
    )


def value_loss(
    positions: LossPositions,
    logits: Tensor,
    reference: Tensor,
    has_reference: Tensor,
    kl_factor: float,
    direction: Direction,
) -> Loss:
    """mean NLL of the targets + kl_factor · KL, by group, from logits (positions, vocabulary).

    `reference` (groups, vocabulary) holds log p₀. Where `has_reference` (groups,) is false it is filled in from these
    logits, which must then be those of δ = 0. forward is KL(p₀ ‖ p), reverse KL(p ‖ p₀) (the authors').
    """
    groups = has_reference.shape[0]
    parts = [positions.labels.shape[0], logits.shape[0] - positions.labels.shape[0]]
    target_logprobs, essence_logprobs = logits.to(positions.weights.dtype).log_softmax(-1).split(parts)
    target_groups, essence_groups = positions.group.split(parts)
    nll = functional.nll_loss(target_logprobs, positions.labels, reduction="none")
    loss = nll.new_zeros(groups).index_add(0, target_groups, nll * positions.weights)
    reached = torch.ones(groups, dtype=torch.bool, device=logits.device)
    reached[target_groups[target_logprobs.detach().argmax(-1) != positions.labels]] = False

    if essence_groups.shape[0]:
        is_first = ~has_reference[essence_groups]
        reference[essence_groups[is_first]] = essence_logprobs[is_first].detach()
        has_reference[essence_groups] = True
        reference_logprobs = reference[essence_groups]
        target, given = (
            (reference_logprobs, essence_logprobs) if direction == "forward" else (essence_logprobs, reference_logprobs)
        )
        divergence = functional.kl_div(given, target, log_target=True, reduction="none").sum(-1)
        loss = loss.index_add(0, essence_groups, kl_factor * divergence)
    return Loss(loss, reached)
