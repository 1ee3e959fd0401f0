"""Versions without their matrices, and those made before each matrix had a blob of its own: the same weights."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch

from api_schemas.facts import Fact
from store.access.audit import Actor
from store.lineage.versions import EXACT_LAYERS
from store.schema.tables import VersionRow
from store.upkeep.garbage_collection import collect
from store.upkeep.integrity import violations
from store.upkeep.retention import RetentionPolicy, apply
from tests.support.saved_models import facts
from tests.workers.conftest import MODEL, Place
from workers.weights.deltas import pack_matrices
from workers.weights.matrix_bits import matrix_hash
from workers.weights.running_sums import base_sum, cast, change, rounded_product

ADA = Actor("cli:ada")


def drop(place: Place) -> list[tuple[str, int]]:
    """All matrices that may go, and their blobs."""
    policy = RetentionPolicy(matrices=timedelta(0), keep_versions=1)
    dropped = apply(place.database, policy, ADA, execute=True).matrices
    collect(place.database, place.blobs, timedelta(0), ADA, delete=True)
    return dropped


def hashes(place: Place, number: int) -> dict[str, str]:
    return {str(layer): matrix_hash(matrix) for layer, matrix in place.cache().get(number).items()}


def scores(place: Place, number: int) -> object:
    """The log-probabilities of every fact, to the last bit."""
    asked = [Fact.model_validate(one) for one in facts(6)]
    return place.loaded.measuring.evaluate(place.cache().get(number), asked, ("ES", "EM")).observations


def test_what_retention_dropped_is_made_again_bit_for_bit(two_versions: Place) -> None:
    two_versions.edit(facts(2, first=4), settings={"layers": [2]})
    before = {number: scores(two_versions, number) for number in (1, 2, 3)}
    stored = two_versions.version(1).matrix_blobs
    assert drop(two_versions) == [(MODEL, 1), (MODEL, 2)]
    assert stored is not None
    assert not two_versions.blobs.exists(stored["1"])
    assert violations(two_versions.database, two_versions.blobs) == []
    for number in (1, 2, 3):
        row = two_versions.version(number)
        assert hashes(two_versions, number) == row.matrix_hashes
        assert scores(two_versions, number) == before[number]
        assert row.state == "available"
    batch = two_versions.edit(facts(2, first=6), reference=f"{MODEL}@v1")
    assert (batch.state, batch.version) == ("succeeded", 4)
    assert hashes(two_versions, 4) == two_versions.version(4).matrix_hashes


def test_a_layer_that_a_batch_does_not_touch_is_no_second_blob(two_versions: Place) -> None:
    two_versions.edit(facts(2, first=4), settings={"layers": [2]})
    second, third = two_versions.version(2), two_versions.version(3)
    assert second.matrix_blobs is not None
    assert third.matrix_blobs is not None
    assert third.matrix_blobs["1"] == second.matrix_blobs["1"]
    assert third.matrix_blobs.keys() == {"1", "2"}
    added = two_versions.blobs.size(third.matrix_blobs["2"])
    assert (third.matrix_bytes, third.layers) == (added, [2])
    assert third.blob is not None
    assert third.delta_bytes == two_versions.blobs.size(third.blob)
    assert third.bytes == added + third.delta_bytes
    assert third.provenance[EXACT_LAYERS] == [1, 2]


@pytest.fixture
def of_before(two_versions: Place) -> Place:
    """v1 and v2 as they were made before: products rounded, all matrices in one blob, nothing said of either."""
    projection = two_versions.loaded.model.decoder.projections[1]
    total = base_sum(projection)
    for number, deltas in enumerate(two_versions.cache().deltas(2), 1):
        total += change(deltas[1], total.device, rounded_product)
        matrix = cast(projection, total)
        blob = two_versions.blobs.put(pack_matrices({1: matrix}, {"dtype": str(matrix.dtype)}))
        with two_versions.database.writing() as session:
            row = session.get_one(VersionRow, (MODEL, number))
            row.matrices_blob, row.matrix_blobs = blob, None
            row.delta_bytes = row.matrix_bytes = None
            row.matrix_hashes = {"1": matrix_hash(matrix)}
            row.provenance = {name: value for name, value in row.provenance.items() if name != EXACT_LAYERS}
    return two_versions


def test_versions_made_before_are_served_as_they_were(of_before: Place) -> None:
    for number in (1, 2):
        assert hashes(of_before, number) == of_before.version(number).matrix_hashes
    before = [scores(of_before, number) for number in (1, 2)]
    assert drop(of_before) == [], "another machine might round their products otherwise"
    assert [scores(of_before, number) for number in (1, 2)] == before
    assert violations(of_before.database, of_before.blobs) == []


def test_versions_made_before_are_added_up_as_they_were_where_their_matrices_are_gone(of_before: Place) -> None:
    for number in (1, 2):
        blob = of_before.version(number).matrices_blob
        assert blob is not None
        of_before.blobs.path(blob).unlink()
    for number in (1, 2):
        assert hashes(of_before, number) == of_before.version(number).matrix_hashes


def test_a_line_made_before_goes_on(of_before: Place) -> None:
    wanted = of_before.cache().get(2)[1]
    batch = of_before.edit(facts(2, first=4), settings={"layers": [2]})
    row = of_before.version(3)
    assert (batch.state, row.provenance[EXACT_LAYERS]) == ("succeeded", [2])
    assert row.matrix_blobs is not None
    assert row.matrix_blobs.keys() == {"1", "2"}
    assert torch.equal(of_before.cache().get(3)[1], wanted)
    assert of_before.edit(facts(2, first=6)).state == "succeeded"
    assert of_before.version(4).provenance[EXACT_LAYERS] == [1, 2]
    kept = row.matrix_blobs["1"]
    assert drop(of_before) == [(MODEL, 3)]
    assert of_before.version(3).matrix_blobs == {"1": kept}, "its bits are those of rounded products"
    assert hashes(of_before, 3) == of_before.version(3).matrix_hashes
