"""Token sequences in one compact tensor, and padded batches of them of like length."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenSequences:
    """Sequences one after the other: `flat` (tokens,) int32 and `lengths` (sequences,) int32, on the CPU."""

    flat: Tensor
    lengths: Tensor

    @staticmethod
    def of(sequences: Iterable[Sequence[int]]) -> TokenSequences:
        """Those of `sequences` that are not empty; each is taken up as it comes: a long text needs a few bytes a
        token."""
        flat, lengths = array("i"), array("i")
        for sequence in sequences:
            if len(sequence) > 0:
                flat.extend(sequence)
                lengths.append(len(sequence))
        return TokenSequences(*(torch.from_numpy(np.asarray(kept, dtype=np.int32)) for kept in (flat, lengths)))

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    @property
    def tokens(self) -> int:
        """How many tokens all sequences have together."""
        return int(self.flat.shape[0])

    def sequences(self) -> list[Tensor]:
        """Each sequence (its length,) int32, as views."""
        return list(self.flat.split(self.lengths.tolist()))


@dataclass(frozen=True)
class TokenBatch:
    """Sequences padded on the right: `tokens` and `positions` (sequences, T) int64, `present` (sequences, T) bool: not
    padding.

    `index` (sequences,) says which of the given sequences each sequence is.
    """

    index: Tensor
    tokens: Tensor
    positions: Tensor
    present: Tensor


def padded_batches(sequences: Sequence[Tensor], most_tokens: int, device: torch.device) -> Iterator[TokenBatch]:
    """Batches of at most `most_tokens` slots (or one sequence), longest sequences first, so that memory peaks at once.

    With padding on the right a plain causal mask keeps every token from seeing padding.
    """
    order = sorted(range(len(sequences)), key=lambda number: (-sequences[number].shape[0], number))
    start = 0
    while start < len(order):
        width = sequences[order[start]].shape[0]
        members = order[start : start + max(1, most_tokens // width)]
        start += len(members)
        tokens = torch.zeros(len(members), width, dtype=torch.long)
        for slot, number in enumerate(members):
            tokens[slot, : sequences[number].shape[0]] = sequences[number]
        lengths = torch.tensor([sequences[number].shape[0] for number in members])
        positions = torch.arange(width).expand(len(members), width)
        yield TokenBatch(
            index=torch.tensor(members),
            tokens=tokens.to(device),
            positions=positions.to(device),
            present=(positions < lengths[:, None]).to(device),
        )


def causal_mask(tokens: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The additive mask (1, 1, T, T) in which each token sees itself and those before it."""
    mask = torch.full((tokens, tokens), torch.finfo(dtype).min, dtype=dtype, device=device).triu_(1)
    return mask[None, None]
