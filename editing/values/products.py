"""In what precision an optimiser step multiplies.

Some processors multiply bfloat16 several times as fast as float32 (Intel's AMX: measured 3 to 4 times for products of
some thousand rows). What a step needs exactly is not the gradient, whose sign Adam mostly reads, but what is solved for
and published: keys, states, residuals and every check stay in the model's own dtype.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from editing.model.decoder import Decoder

FEWEST_TOKENS = 192
"""Of a packed batch that is worth it: a step reads and rounds every weight once, which takes as long as some hundred
tokens win (SmolLM2-135M on one core with AMX)."""


def multiplies_bfloat16_fast() -> bool:
    """Whether this processor has tiles for bfloat16. Where it only emulates them, float32 is faster and exacter."""
    return bool(torch.cpu._is_amx_tile_supported())


def rounded_products(decoder: Decoder, tokens: int) -> AbstractContextManager[None]:
    """A context in which the layers' products of `tokens` tokens are taken in bfloat16, with sums in float32.

    It does nothing unless `decoder` allows it, is in float32 on a processor that gains by it, and the tokens are
    enough. Only the calling thread's products change, so that what is decoded beside keeps its bits. The stream, norms
    and attention stay in float32; the vocabulary projection is left outside, since which token is the argmax decides
    when a fact is done.
    """
    rounded = (
        decoder.rounded_products
        and decoder.device.type == "cpu"
        and decoder.dtype == torch.float32
        and tokens >= FEWEST_TOKENS
        and multiplies_bfloat16_fast()
    )
    # Rounded weights are not kept: they would be half as much again of the model for as long as values are optimised.
    return torch.autocast("cpu", torch.bfloat16, enabled=rounded, cache_enabled=False)


def unrounded_products() -> AbstractContextManager[None]:
    """Inside `rounded_products`, where products are too small to gain by it."""
    return torch.autocast("cpu", enabled=False)
