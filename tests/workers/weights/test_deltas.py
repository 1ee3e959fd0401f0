"""Deltas and matrices as blobs: what comes back is what was put in, to the last bit."""

from __future__ import annotations

import pytest
import torch

from store.errors import BlobCorruptError
from workers.weights.deltas import LayerDelta, pack_deltas, pack_matrices, unpack_deltas, unpack_matrices

HEADER = {"fingerprint": "f" * 64, "provenance": {"seed": 1}}


def delta(layer: int, *, dense: bool = False) -> LayerDelta:
    generator = torch.Generator().manual_seed(layer)
    a, b = torch.randn(2, 6, generator=generator), torch.randn(4, 2, generator=generator)
    return LayerDelta(
        layer,
        a=None if dense else a,
        b=None if dense else b,
        dense=b @ a if dense else None,
        keys=torch.randn(6, 2, generator=generator),
        values=torch.randn(4, 2, generator=generator),
    )


def test_a_delta_comes_back_as_it_was() -> None:
    packed = {3: delta(3), 12: delta(12, dense=True)}
    found = unpack_deltas(pack_deltas(packed, HEADER), "f" * 64)
    assert list(found) == [3, 12]
    for layer, one in found.items():
        for name in ("a", "b", "dense", "keys", "values"):
            expected, value = getattr(packed[layer], name), getattr(one, name)
            assert (value is None) == (expected is None)
            assert value is None or torch.equal(value, expected)
        assert one.delta().dtype == torch.float64
    assert torch.equal(found[3].delta(), packed[3].b.double() @ packed[3].a.double())  # type: ignore[union-attr]
    assert [found[3].rank, found[12].rank] == [2, 4]


def test_the_same_delta_is_the_same_bytes_whatever_its_order() -> None:
    forwards = pack_deltas({1: delta(1), 2: delta(2)}, HEADER)
    backwards = pack_deltas({2: delta(2), 1: delta(1)}, dict(reversed(HEADER.items())))
    assert forwards == backwards


def test_a_delta_belongs_to_one_base() -> None:
    with pytest.raises(BlobCorruptError, match="another base model"):
        unpack_deltas(pack_deltas({1: delta(1)}, HEADER), "0" * 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_matrices_come_back_bit_for_bit_in_every_dtype(dtype: torch.dtype) -> None:
    matrices = {layer: torch.randn(4, 6, generator=torch.Generator().manual_seed(layer)).to(dtype) for layer in (2, 11)}
    packed = pack_matrices(matrices, {"dtype": str(dtype)})
    found = unpack_matrices(packed, dtype)
    assert sorted(found) == [2, 11]
    assert all(torch.equal(found[layer], matrix) for layer, matrix in matrices.items())
    with pytest.raises(BlobCorruptError, match=r"not matrices in torch\.float64"):
        unpack_matrices(packed, torch.float64)


def test_neither_is_taken_for_the_other() -> None:
    with pytest.raises(BlobCorruptError, match="not matrices"):
        unpack_matrices(pack_deltas({1: delta(1)}, HEADER), torch.float32)
    with pytest.raises(BlobCorruptError, match="not a delta"):
        unpack_deltas(pack_matrices({1: torch.zeros(2, 2)}, {"dtype": "torch.float32"}), "f" * 64)
