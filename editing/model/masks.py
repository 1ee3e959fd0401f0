"""Attention masks for rows that are padded on the left, so that they all end, and go on, at one slot."""

from __future__ import annotations

import torch
from torch import Tensor


def left_padded_mask(keep: Tensor, new: int, dtype: torch.dtype) -> Tensor:
    """The additive mask (rows, 1, new, T) of the last `new` of T slots: causal, and blind to padding.

    `keep` (rows, T), bool, says which slots hold a token. A padding slot sees itself, since a softmax over nothing is
    NaN.
    """
    total = keep.shape[1]
    at = torch.arange(total - new, total, device=keep.device)
    upto = torch.arange(total, device=keep.device)
    seen = (upto[None, :] <= at[:, None]) & keep[:, None, :] | (upto[None, :] == at[:, None])
    mask = torch.zeros(keep.shape[0], 1, new, total, dtype=dtype, device=keep.device)
    return mask.masked_fill_(~seen[:, None], torch.finfo(dtype).min)
