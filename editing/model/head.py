"""The language model head: from the stream to logits.

BLAS takes longer for one tall product with few vectors than for many small ones. A float32 head of 49,152 × 576 took
for 8, 16, 32 and 64 vectors on two cores 21, 30, 37 and 53 ms as one product and 16, 22, 27 and 43 ms in pieces of
2,048 rows, with the same numbers; on one core 30, 32 and 46 ms for 8, 16 and 32, and 22, 27 and 39. For fewer vectors
or more nothing is gained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PIECE = 2048
"""Rows of the head's weight that are multiplied at a time."""
FEWEST, MOST = 8, 64
"""Vectors for which it goes in pieces."""


def through_head(head: nn.Module, vectors: Tensor) -> Tensor:
    """`vectors` (..., d_out) through the linear `head` → (..., vocabulary)."""
    if not _is_better_in_pieces(head, vectors):
        out: Tensor = head(vectors)
        return out
    weights = head.get_parameter("weight").split(PIECE)
    bias: Tensor | None = getattr(head, "bias", None)
    biases = [None] * len(weights) if bias is None else bias.split(PIECE)
    return torch.cat([functional.linear(vectors, *piece) for piece in zip(weights, biases, strict=True)], dim=-1)


def _is_better_in_pieces(head: nn.Module, vectors: Tensor) -> bool:
    return (
        type(head) is nn.Linear
        and vectors.device.type == "cpu"
        and vectors.dtype == torch.float32
        and not vectors.requires_grad  # what the gradient would cost was not measured
        and FEWEST <= vectors.shape[:-1].numel() <= MOST
    )
