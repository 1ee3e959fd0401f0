"""Adding a lineage up: one delta for a child of what is held, and of each delta only what is added."""

from __future__ import annotations

import pytest
import torch

from store.errors import BlobCorruptError
from store.lineage.versions import Step
from tests.support.saved_models import facts
from tests.support.summed_deltas import sum_deltas
from tests.workers.conftest import Place
from tests.workers.weights.test_matrix_cache import blob_of, flip, flip_a_factor
from workers.weights.deltas import LayerDelta
from workers.weights.matrix_cache import MatrixCache
from workers.weights.running_sums import cast


class Reads:
    """Which deltas a cache's sums read, in part or whole."""

    def __init__(self, cache: MatrixCache, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[int] = []
        self.whole: list[int] = []
        self._read, self._read_change = cache.reader.read, cache.reader.read_change
        monkeypatch.setattr(cache.reader, "read", self.read)
        monkeypatch.setattr(cache.reader, "read_change", self.read_change)

    def read(self, step: Step) -> dict[int, LayerDelta]:
        self.whole.append(step.number)
        return self._read(step)

    def read_change(self, step: Step) -> dict[int, LayerDelta]:
        self.parts.append(step.number)
        found = self._read_change(step)
        assert all(delta.keys is None and delta.values is None for delta in found.values())
        return found


def test_sums_are_the_base_and_the_deltas_in_their_order(two_versions: Place) -> None:
    cache = two_versions.cache()
    projection = two_versions.loaded.model.decoder.projections[1]
    wanted = sum_deltas(projection, [deltas[1] for deltas in cache.deltas(2)])
    assert torch.equal(cast(projection, cache.sums.at(2)[1]), wanted)
    assert torch.equal(cache.get(2)[1], wanted)
    assert cache.sums.at(0) == {}


def test_a_child_of_what_is_held_costs_one_delta(two_versions: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    two_versions.edit(facts(2, first=4), settings={"layers": [2]})
    cache = two_versions.cache()
    reads = Reads(cache, monkeypatch)
    second = cache.sums.at(2)
    assert (reads.parts, reads.whole) == ([1, 2], [])
    before = second[1].clone()
    third = cache.sums.at(3)
    assert cache.sums.at(2) is second
    assert (reads.parts, reads.whole) == ([1, 2, 3], [])
    assert third[1] is second[1], "a layer that was not touched is shared"
    assert torch.equal(second[1], before)


def test_a_line_that_goes_on_is_not_added_up_again(two_versions: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    context = two_versions.worker()
    two_versions.edit(facts(2, first=4))
    reads = Reads(context.matrices, monkeypatch)
    batch = two_versions.edit(facts(2, first=6))
    assert (batch.version, reads.parts) == (4, [3])


def test_sums_beyond_the_budget_are_not_held(two_versions: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = two_versions.cache(budget_bytes=1)
    reads = Reads(cache, monkeypatch)
    for _ in range(2):
        assert set(cache.sums.at(2)) == {1}
    assert reads.parts == [1, 2, 1, 2]
    assert cache.sums.held_bytes() == 0


def test_a_changed_byte_of_a_factor_is_found_by_the_hash(two_versions: Place) -> None:
    path = two_versions.blobs.path(blob_of(two_versions, 1))
    path.write_bytes(flip_a_factor(path.read_bytes()))
    with pytest.raises(BlobCorruptError, match=rf"version v1 of tiny cannot be served: blob {path.name}"):
        two_versions.cache().sums.at(2)


def test_a_changed_byte_of_what_is_not_added_does_no_harm(two_versions: Place) -> None:
    wanted = two_versions.cache().sums.at(2)[1]
    path = two_versions.blobs.path(blob_of(two_versions, 1))
    path.write_bytes(flip(path.read_bytes()))
    assert torch.equal(two_versions.cache().sums.at(2)[1], wanted)
