"""Many sequences of token ids, kept compactly, and cut into padded batches of like length."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenRows:
    """Sequences one after the other: `flat` (tokens,) int32 and `lengths` (rows,) int32, on the CPU."""

    flat: Tensor
    lengths: Tensor

    @staticmethod
    def of(rows: Iterable[Sequence[int]]) -> TokenRows:
        """Those of `rows` that are not empty; each is taken up as it comes: a long text needs a few bytes a token."""
        flat, lengths = array("i"), array("i")
        for row in rows:
            if len(row) > 0:
                flat.extend(row)
                lengths.append(len(row))
        return TokenRows(*(torch.from_numpy(np.asarray(kept, dtype=np.int32)) for kept in (flat, lengths)))

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    @property
    def tokens(self) -> int:
        """How many tokens all rows have together."""
        return int(self.flat.shape[0])

    def rows(self) -> list[Tensor]:
        """Each row (its length,) int32, as views."""
        return list(self.flat.split(self.lengths.tolist()))


@dataclass(frozen=True)
class TokenBatch:
    """Rows padded on the right: `tokens` and `positions` (rows, T) int64, `present` (rows, T) bool: not padding.

    `index` (rows,) says which of the given sequences each row is.
    """

    index: Tensor
    tokens: Tensor
    positions: Tensor
    present: Tensor


def padded_batches(rows: Sequence[Tensor], most_tokens: int, device: torch.device) -> Iterator[TokenBatch]:
    """Batches of at most `most_tokens` slots (or one row), longest rows first, so that memory peaks at once.

    With padding on the right a plain causal mask keeps every token from seeing padding.
    """
    order = sorted(range(len(rows)), key=lambda number: (-rows[number].shape[0], number))
    start = 0
    while start < len(order):
        width = rows[order[start]].shape[0]
        members = order[start : start + max(1, most_tokens // width)]
        start += len(members)
        tokens = torch.zeros(len(members), width, dtype=torch.long)
        for slot, number in enumerate(members):
            tokens[slot, : rows[number].shape[0]] = rows[number]
        lengths = torch.tensor([rows[number].shape[0] for number in members])
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
