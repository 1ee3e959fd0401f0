"""From a version to its matrices: exactly what was published, or an error that names what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from api_schemas.facts import Fact
from store.errors import BlobCorruptError, BlobError, BlobMissingError, BlobStoreAwayError, VersionNotFoundError
from store.lineage import aliases
from store.schema.tables import VersionRow
from tests.support.saved_models import facts
from tests.workers.conftest import MODEL, Place
from workers.weights.deltas import pack_deltas, unpack_deltas
from workers.weights.matrix_bits import matrix_hash


def blob_of(place: Place, number: int) -> str:
    blob = place.version(number).blob
    assert blob is not None
    return blob


def matrix_blob_of(place: Place, number: int) -> str:
    """That of layer 1."""
    blobs = place.version(number).matrix_blobs
    assert blobs is not None
    return str(blobs["1"])


def point(place: Place, number: int, **blobs: object) -> None:
    """Let a version's row name other blobs."""
    with place.database.writing() as session:
        row = session.get(VersionRow, (MODEL, number))
        assert row is not None
        for name, blob in blobs.items():
            setattr(row, name, blob)


def other_delta(place: Place, number: int, fingerprint: str | None = None) -> str:
    """A delta like that of a version, whose numbers are somewhat different."""
    known = place.loaded.model.fingerprint
    deltas = unpack_deltas(place.blobs.get(blob_of(place, number)), known)
    changed = {layer: replace(delta, b=None if delta.b is None else delta.b * 1.001) for layer, delta in deltas.items()}
    return place.blobs.put(pack_deltas(changed, {"fingerprint": fingerprint or known}))


def test_the_base_has_no_matrices_of_its_own(place: Place) -> None:
    assert place.cache().get(0) == {}


def test_an_unknown_version_is_named(place: Place) -> None:
    with pytest.raises(VersionNotFoundError, match="v7"):
        place.cache().get(7)


def test_every_cold_start_gives_the_bits_that_were_published(two_versions: Place) -> None:
    for number in (1, 2):
        matrices = two_versions.cache().get(number)
        hashes = {str(layer): matrix_hash(matrix) for layer, matrix in matrices.items()}
        assert hashes == two_versions.version(number).matrix_hashes


def test_going_back_and_forth_changes_nothing(two_versions: Place) -> None:
    cache = two_versions.cache(budget_bytes=1)
    first = {number: {layer: matrix.clone() for layer, matrix in cache.get(number).items()} for number in (1, 2)}
    for number in (2, 1, 0, 1, 2):
        matrices = cache.get(number)
        assert all(torch.equal(matrix, first[number][layer]) for layer, matrix in matrices.items())
    decoder = two_versions.loaded.model.decoder
    assert not torch.equal(first[1][1], decoder.projections[1].weight)


def test_what_was_not_used_for_longest_is_let_go_first(two_versions: Place) -> None:
    size = two_versions.loaded.model.decoder.projections[1].weight.nbytes
    cache = two_versions.cache(budget_bytes=2 * size)
    one, two = cache.get(1), cache.get(2)
    assert cache.get(1) is one
    cache.put(3, {1: two[1].clone()})
    assert cache.get(1) is one
    assert cache.get(2) is not two


def test_nobody_waits_for_a_version_that_he_did_not_ask_for(
    two_versions: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = two_versions.cache()
    get, slow = cache.blobs.get, blob_of(two_versions, 2)
    begun, may_end = threading.Event(), threading.Event()
    reads: list[str] = []

    def read(name: str) -> bytes:
        reads.append(name)
        if name == slow:
            begun.set()
            assert may_end.wait(60)
        return get(name)

    monkeypatch.setattr(cache.blobs, "get", read)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(cache.get, 2) for _ in range(2)]
        assert begun.wait(60)
        assert cache.cached(2) is None
        assert set(cache.get(1)) == {1}
        cache.put(3, {})
        may_end.set()
        first, second = (one.result() for one in both)
    assert first is second is cache.cached(2)
    assert reads.count(slow) == 1


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def flip_a_factor(content: bytes) -> bytes:
    """The lowest bit of the first number of the first array, which is a factor of Δ."""
    first = 8 + int.from_bytes(content[:8], "little")
    return content[:first] + bytes([content[first] ^ 1]) + content[first + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "truncated": truncate,
    "one bit flipped": flip_a_factor,
    "empty": lambda _: b"",
    "missing": lambda _: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("version", [1, 2])
def test_a_damaged_delta_is_named_and_never_applied(two_versions: Place, damage: str, version: int) -> None:
    blob = blob_of(two_versions, version)
    path = two_versions.blobs.path(blob)
    content = DAMAGES[damage](path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    expected = BlobMissingError if content is None else BlobCorruptError

    with pytest.raises(expected, match=rf"version v{version} of tiny cannot be served: blob {blob}"):
        two_versions.cache().get(version)

    other = 3 - version
    assert [two_versions.version(number).state for number in (version, other)] == ["unavailable", "available"]
    assert matrix_hash(two_versions.cache().get(other)[1]) == two_versions.version(other).matrix_hashes["1"]
    assert [two_versions.version(number).state for number in (version, other)] == ["unavailable", "available"]
    batch = two_versions.edit(facts(2, first=4)) if version == 1 else two_versions.edit(facts(2), reference="tiny@v2")
    assert (batch.state, batch.version, two_versions.versions()) == ("failed", None, [1, 2])
    assert batch.error is not None
    assert batch.error["code"] == expected.code
    assert blob in batch.error["detail"]


def test_a_version_is_available_again_when_its_blob_is(two_versions: Place) -> None:
    path = two_versions.blobs.path(blob_of(two_versions, 1))
    matrices = two_versions.blobs.path(matrix_blob_of(two_versions, 2))
    hidden = {one: one.rename(one.with_name(f"away-{one.name}")) for one in (path, matrices)}
    for _ in range(2):
        with pytest.raises(BlobMissingError):
            two_versions.cache().get(2)
        assert [two_versions.version(number).state for number in (1, 2)] == ["unavailable", "unavailable"]
    hidden[matrices].rename(matrices)
    assert matrix_hash(two_versions.cache().get(2)[1]) == two_versions.version(2).matrix_hashes["1"]
    assert [two_versions.version(number).state for number in (1, 2)] == ["unavailable", "available"]
    hidden[path].rename(path)
    assert matrix_hash(two_versions.cache().get(1)[1]) == two_versions.version(1).matrix_hashes["1"]
    assert [two_versions.version(number).state for number in (1, 2)] == ["available", "available"]


def test_a_store_that_is_away_says_nothing_about_its_versions(
    two_versions: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> bytes:
        raise BlobStoreAwayError("no route to the store")

    monkeypatch.setattr(two_versions.blobs, "get", away)
    with pytest.raises(BlobStoreAwayError, match="version v2 of tiny cannot be served: no route"):
        two_versions.cache().get(2)
    assert [two_versions.version(number).state for number in (1, 2)] == ["available", "available"]


def test_a_delta_of_another_base_model_is_refused(two_versions: Place) -> None:
    point(two_versions, 1, blob=other_delta(two_versions, 1, fingerprint="0" * 64))
    with pytest.raises(BlobCorruptError, match=r"version v1 of tiny cannot be served: .* another base model"):
        two_versions.cache().get(1)
    assert matrix_hash(two_versions.cache().get(2)[1]) == two_versions.version(2).matrix_hashes["1"]
    assert [two_versions.version(number).state for number in (1, 2)] == ["unavailable", "available"]


def test_an_earlier_delta_and_matrices_that_are_both_damaged_are_never_applied(two_versions: Place) -> None:
    stored = matrix_blob_of(two_versions, 2)
    for blob, damage in ((blob_of(two_versions, 1), flip_a_factor), (stored, flip)):
        path = two_versions.blobs.path(blob)
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BlobCorruptError, match=rf"version v2 of tiny cannot be served: blob {stored}"):
        two_versions.cache().get(2)
    point(two_versions, 2, matrix_blobs=two_versions.version(1).matrix_blobs)
    with pytest.raises(BlobCorruptError, match="version v2 of tiny: layer 1 does not match its hash"):
        two_versions.cache().get(2)


def test_a_blob_that_is_no_delta_is_refused(two_versions: Place) -> None:
    point(two_versions, 1, blob=matrix_blob_of(two_versions, 1))
    with pytest.raises(BlobCorruptError, match="version v1 of tiny cannot be served: not a delta"):
        two_versions.cache().get(1)
    point(two_versions, 1, blob=two_versions.blobs.put(b"no such file of ours"))
    with pytest.raises(BlobCorruptError, match="version v1 of tiny cannot be served: not a safetensors file"):
        two_versions.cache().get(1)
    point(two_versions, 1, blob=None)
    with pytest.raises(BlobCorruptError, match="version v1 of tiny names no blob"):
        two_versions.cache().get(1)


def test_where_adding_up_gives_other_bits_the_published_matrices_are_fetched(two_versions: Place) -> None:
    wanted = {number: two_versions.cache().get(number)[1] for number in (1, 2)}
    point(two_versions, 1, blob=other_delta(two_versions, 1))
    cache = two_versions.cache()
    for number, matrix in wanted.items():
        assert torch.equal(cache.get(number)[1], matrix)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_matrices_that_cannot_be_fetched_either_are_never_applied(two_versions: Place, damage: str) -> None:
    point(two_versions, 1, blob=other_delta(two_versions, 1))
    stored = matrix_blob_of(two_versions, 1)
    path = two_versions.blobs.path(stored)
    content = DAMAGES[damage](path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BlobError, match=rf"version v1 of tiny cannot be served: blob {stored}"):
        two_versions.cache().get(1)


def test_matrices_of_another_version_are_not_taken_for_this_ones(two_versions: Place) -> None:
    point(two_versions, 1, blob=other_delta(two_versions, 1), matrix_blobs=two_versions.version(2).matrix_blobs)
    with pytest.raises(BlobCorruptError, match="version v1 of tiny: layer 1 does not match its hash"):
        two_versions.cache().get(1)


def test_a_hash_that_was_changed_is_not_believed(two_versions: Place) -> None:
    with two_versions.database.writing() as session:
        row = session.get(VersionRow, (MODEL, 1))
        assert row is not None
        row.matrix_hashes = {"1": "0" * 64}
    with pytest.raises(BlobCorruptError, match="version v1 of tiny"):
        two_versions.cache().get(1)


def test_a_rollback_serves_exactly_the_earlier_version(two_versions: Place) -> None:
    said = two_versions.loaded.measuring.measure
    before = said(two_versions.cache().get(1), [Fact.model_validate(one) for one in facts(4)], ("EM", "ES"))
    with two_versions.database.writing() as session:
        aliases.put(session, MODEL, "latest", 1, expected=2)
    matrices = two_versions.cache().get(two_versions.latest())
    assert said(matrices, [Fact.model_validate(one) for one in facts(4)], ("EM", "ES")) == before
    batch = two_versions.edit(facts(2, first=6))
    assert (batch.base_version, batch.version) == (1, 3)


def test_hashes_tell_dtype_shape_and_bits_apart() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    different = [matrix.T.contiguous(), matrix.double(), matrix.bfloat16(), matrix + 1e-6, matrix.reshape(3, 2)]
    assert len({matrix_hash(one) for one in [matrix, *different]}) == 6
    assert matrix_hash(matrix.T.contiguous().T) == matrix_hash(matrix)
