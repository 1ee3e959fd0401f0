"""Cuts sequences into padded batches: little padding, but batches large enough to keep a processor busy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

BATCH_OVERHEAD = {"cpu": 32}
"""What one more batch costs beside its tokens, in tokens, by device type: the rate of small matrix products and the
time to start their kernels (measured)."""
OTHER_OVERHEAD = 512

SequenceBytes = Callable[[int, int], float]
"""(sequence, tokens that it is padded to) → bytes of memory that the sequence needs while its batch runs."""


def in_batches(
    lengths: Sequence[int], sequence_bytes: SequenceBytes, limit: float, device: torch.device
) -> Iterator[list[int]]:
    """Indices of sequences of `lengths` tokens that run together, padded to the longest of them; every sequence once.

    A batch of more than one sequence needs at most `limit` bytes, where each sequence counts as its batch's largest:
    sequences of like size run together. Lengths are merged where another batch would cost more than padding.
    """
    overhead = BATCH_OVERHEAD.get(device.type, OTHER_OVERHEAD)
    by_length: dict[int, list[int]] = {}
    for number, length in enumerate(lengths):
        by_length.setdefault(length, []).append(number)
    for bucket in _buckets(by_length, sequence_bytes, limit, overhead):
        sizes = {number: sequence_bytes(number, max(bucket)) for length in bucket for number in by_length[length]}
        numbers = sorted(sizes, key=lambda number: (sizes[number], number))
        yield from _cut(numbers, [sizes[number] for number in numbers], limit)


def even_parts(sizes: Sequence[float], parts: int) -> list[list[int]]:
    """The indices of `sizes`, in their order, in at most `parts` runs of nearly the same sum; none is empty."""
    total, sum_so_far = sum(sizes), 0.0
    runs: list[list[int]] = [[] for _ in range(parts)]
    for index, size in enumerate(sizes):
        runs[min(int((sum_so_far + size / 2) * parts / total), parts - 1)].append(index)
        sum_so_far += size
    return [part for part in runs if part]


def _cut(numbers: Sequence[int], sizes: Sequence[float], limit: float) -> list[list[int]]:
    """`numbers`, in order of their `sizes`, in the fewest even batches; each sequence takes its batch's largest
    size."""
    for parts in range(max(1, math.ceil(sum(sizes) / limit)), len(numbers)):
        batches = even_parts(sizes, parts)
        if all(len(batch) * sizes[batch[-1]] <= limit for batch in batches):
            return [[numbers[index] for index in batch] for batch in batches]
    return [[number] for number in numbers]


def _buckets(
    by_length: dict[int, list[int]], sequence_bytes: SequenceBytes, limit: float, overhead: int
) -> list[list[int]]:
    """The cheapest cut of the sorted lengths into runs that are padded to their longest, by dynamic programming."""
    order = sorted(by_length)
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(order) + 1):
        widest = order[stop - 1]
        sequences, size = 0, 0.0
        choices = []
        for start in range(stop - 1, -1, -1):
            members = by_length[order[start]]
            sequences, size = sequences + len(members), size + len(members) * sequence_bytes(members[0], widest)
            choices.append((best[start][0] + sequences * widest + max(1.0, size / limit) * overhead, start))
        best.append(min(choices))
    cuts = []
    stop = len(order)
    while stop:
        start = best[stop][1]
        cuts.append(order[start:stop])
        stop = start
    return cuts
