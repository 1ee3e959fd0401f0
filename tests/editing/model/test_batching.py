"""Rows run together with little padding, within a memory limit, and in no batch too small to be fast."""

from __future__ import annotations

import random

import pytest
import torch

from editing.model.batching import in_batches

CPU = torch.device("cpu")


def size(_: int, width: int) -> float:
    return 100.0 * width


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_in_one_batch_within_the_limit(seed: int) -> None:
    draw = random.Random(seed)
    rows = draw.randint(1, 200)
    before = [draw.randint(0, 30) for _ in range(rows)]
    lengths = [draw.randint(1, 12) for _ in range(rows)]
    limit = draw.choice([1.0, 2_000.0, 20_000.0, 1e9])

    def row_bytes(number: int, width: int) -> float:
        return 10.0 * before[number] + 100.0 * width

    batches = list(in_batches(lengths, row_bytes, limit, CPU))
    assert sorted(number for batch in batches for number in batch) == list(range(rows))
    for batch in batches:
        width = max(lengths[number] for number in batch)
        needed = len(batch) * max(row_bytes(number, width) for number in batch)
        assert len(batch) == 1 or needed <= limit


def test_many_rows_of_few_lengths_are_not_padded() -> None:
    lengths = [3] * 50 + [7] * 50 + [4] * 50
    for batch in in_batches(lengths, size, 1e9, CPU):
        assert len({lengths[number] for number in batch}) == 1


def test_few_rows_run_together() -> None:
    assert len(list(in_batches([3, 4, 5, 6], size, 1e9, CPU))) == 1


def test_batches_of_one_length_are_even() -> None:
    batches = list(in_batches([5] * 31, size, 15_000.0, CPU))
    assert {len(batch) for batch in batches} == {15, 16}


def test_no_rows_are_no_batches() -> None:
    assert list(in_batches([], size, 1.0, CPU)) == []
