"""The loss of values, read from logits: NLL of the targets, and KL of what is said about the subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from editing.values.rows import Row

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class Reads:
    """Where a packed sequence's logits are read, `token` (reads,), int64, and for which `group` (reads,).

    The first `labels.shape[0]` reads predict `labels` with `weights` in their groups' losses; the others are KL reads.
    """

    token: Tensor
    group: Tensor
    labels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Loss:
    """A block's part of its groups' losses: `loss` (groups,), and `said` (groups,), bool: every label is the argmax."""

    loss: Tensor
    said: Tensor


def reads_of(rows: Sequence[Row], first_tokens: Sequence[int], dtype: torch.dtype, device: torch.device) -> Reads:
    """The reads of `rows`, whose suffixes begin at `first_tokens` of the packed sequence."""
    answers = [
        (first + row.first_read + offset, row.group, label, row.loss_weight / len(row.labels))
        for row, first in zip(rows, first_tokens, strict=True)
        for offset, label in enumerate(row.labels)
    ]
    essences = [(first, row.group) for row, first in zip(rows, first_tokens, strict=True) if not row.labels]
    where = torch.tensor([read[:2] for read in answers] + essences, device=device)
    return Reads(
        token=where[:, 0],
        group=where[:, 1],
        labels=torch.tensor([read[2] for read in answers], dtype=torch.long, device=device),
        weights=torch.tensor([read[3] for read in answers], dtype=dtype, device=device),
    )


def value_loss(
    reads: Reads, logits: Tensor, reference: Tensor, known: Tensor, kl_factor: float, direction: Direction
) -> Loss:
    """mean NLL of the targets + kl_factor · KL, by group, from logits (reads, vocabulary).

    `reference` (groups, vocabulary) holds log p₀. Where `known` (groups,) is false it is filled in from these logits,
    which must then be those of δ = 0. forward is KL(p₀ ‖ p), reverse KL(p ‖ p₀) (the authors').
    """
    groups = known.shape[0]
    parts = [reads.labels.shape[0], logits.shape[0] - reads.labels.shape[0]]
    log_answers, log_now = logits.to(reads.weights.dtype).log_softmax(-1).split(parts)
    of_answer, of_essence = reads.group.split(parts)
    nll = functional.nll_loss(log_answers, reads.labels, reduction="none")
    loss = nll.new_zeros(groups).index_add(0, of_answer, nll * reads.weights)
    said = torch.ones(groups, dtype=torch.bool, device=logits.device)
    said[of_answer[log_answers.detach().argmax(-1) != reads.labels]] = False

    if of_essence.shape[0]:
        new = ~known[of_essence]
        reference[of_essence[new]] = log_now[new].detach()
        known[of_essence] = True
        log_before = reference[of_essence]
        target, given = (log_before, log_now) if direction == "forward" else (log_now, log_before)
        divergence = functional.kl_div(given, target, log_target=True, reduction="none").sum(-1)
        loss = loss.index_add(0, of_essence, kl_factor * divergence)
    return Loss(loss, said)
