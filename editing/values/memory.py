"""Memory budget of the optimisation of values, and the portions into which a batch is cut to keep within it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from editing.model.batching import even_parts
from editing.model.decoder import Decoder
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup, tokens_per_step
from editing.values.sequences import ValueSequence, sequences_of

LEAST_BYTES = 16 * 1024**2
"""Where so little is too much, smaller packed batches do not help."""
PROCESSOR_CONSTANTS, PROCESSOR_BACKWARD = 2 * 1024**3, 512 * 1024**2
ACCELERATOR_SHARE = 0.4
"""Of the memory that is free, for the constants as for the backward pass; the rest is for what neither counts."""


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes: `constants` for what is computed once for all groups that are optimised together (prefixes' keys and
    values, mostly), `backward` for what packed batches that run at once keep for their backward pass."""

    constants: float
    backward: float

    def halved(self) -> MemoryBudget | None:
        """Half of it, or None where there is nothing left to halve."""
        if self.backward <= LEAST_BYTES:
            return None
        return MemoryBudget(self.constants / 2, self.backward / 2)


def memory_budget(device: torch.device) -> MemoryBudget:
    """What `device` has for an optimisation: on an accelerator most of what is free now."""
    if device.type != "cuda":
        return MemoryBudget(PROCESSOR_CONSTANTS, PROCESSOR_BACKWARD)
    share = ACCELERATOR_SHARE * free_on_cuda(device)
    return MemoryBudget(share, share)


def free_on_cuda(device: torch.device) -> int:
    """Bytes that this process may still take on `device`, what PyTorch keeps for the next tensors included."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def portions(
    decoder: Decoder,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    kl_factor: float,
    first_layer: int,
    limit: float,
) -> list[list[int]]:
    """The numbers of `groups` in as few even portions as keep each one's constants within `limit` bytes.

    Groups of like length stay together; a group is never cut, so that a portion of one may be larger. `first_layer` is
    the first that each optimiser step runs.
    """
    texts = sum(context.chat is None for context in contexts)
    order = sorted(range(len(groups)), key=lambda number: (tokens_per_step(groups[number], texts), number))
    sequences = sequences_of([groups[number] for number in order], contexts, kl_factor)
    sizes = [0.0] * len(order)
    for sequence in sequences:
        sizes[sequence.group] += constant_bytes(decoder, sequence, first_layer)
    for number in range(max(1, math.ceil(sum(sizes) / limit)), len(order)):
        parts = even_parts(sizes, number)
        if all(sum(sizes[place] for place in part) <= limit for part in parts):
            return [[order[place] for place in part] for part in parts]
    return [[number] for number in order]


def constant_bytes(decoder: Decoder, sequence: ValueSequence, first_layer: int) -> float:
    """About what is kept of `sequence` for all steps: once for the sequence, once in its packed batch."""
    projection = decoder.projections[-1]
    prefix = 2 * decoder.key_value_width * sequence.subject * (len(decoder.layers) - first_layer)
    stream = sequence.suffix_length * projection.d_out
    reference = 0 if sequence.labels else 4 * decoder.vocabulary
    return float((2 * (prefix + stream) + projection.d_in) * decoder.dtype.itemsize + reference)


def backward_bytes(
    decoder: Decoder, sequence: ValueSequence, layer: int, first_layer: int, context_slots: int, delta_bytes: int
) -> float:
    """About what `sequence` keeps for the backward pass of a step that runs the layers from `first_layer` on.

    `layer` is δ's, `context_slots` the width of the context texts before the sequence, `delta_bytes` those of a number
    of δ.
    """
    projection, width = decoder.projections[layer], sequence.suffix_length
    slots = sequence.subject + width + context_slots
    token = 10 * projection.d_out + 3 * projection.d_in + 3 * decoder.attention_heads * slots
    logits = 3 * sequence.loss_positions * decoder.vocabulary * delta_bytes
    return (len(decoder.layers) - first_layer) * width * token * decoder.dtype.itemsize + logits
