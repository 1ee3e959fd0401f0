"""Samples the next token from logits: temperature, top-p and a random generator of each choice's own."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def generator_for(seed: int | None, choice: int) -> Generator:
    """A random generator of a choice's own: the same seed gives the same text, whatever else is in the batch."""
    generator = Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed((seed + 0x9E3779B97F4A7C15 * choice) % 2**63)
    return generator


def sample_token(logits: Tensor, temperature: float, top_p: float, generator: Generator) -> int:
    """A token sampled from finite `logits` (vocabulary,), float32; the smallest temperatures come to the best one.

    `top_p` keeps the smallest set of most probable tokens whose probabilities sum to at least it.
    """
    scores = logits.double()
    # The best one is 0 before the division: a tiny temperature would make it infinite, and NaN of it all.
    probabilities = torch.softmax((scores - scores.max()) / temperature, dim=-1).cpu()
    if top_p < 1:
        ordered, order = probabilities.sort(descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= top_p
        probabilities[order[outside]] = 0
    return int(torch.multinomial(probabilities, 1, generator=generator))
