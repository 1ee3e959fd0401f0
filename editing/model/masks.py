"""Attention masks for sequences that are padded on the left, so that they all end, and go on, at one slot."""

from __future__ import annotations

import torch
from torch import Tensor


def left_padded_mask(present: Tensor, new: int, dtype: torch.dtype) -> Tensor:
    """The additive mask (sequences, 1, new, T) of the last `new` of T slots: causal, and blind to padding.

    `present` (sequences, T), bool, says which slots hold a token. A padding slot sees itself, since a softmax over
    nothing is NaN.
    """
    total = present.shape[1]
    queries = torch.arange(total - new, total, device=present.device)
    slots = torch.arange(total, device=present.device)
    visible = (slots[None, :] <= queries[:, None]) & present[:, None, :] | (slots[None, :] == queries[:, None])
    mask = torch.zeros(present.shape[0], 1, new, total, dtype=dtype, device=present.device)
    return mask.masked_fill_(~visible[:, None], torch.finfo(dtype).min)
