"""Blobs in an S3-compatible store keep the promises of those in a folder, against a server that speaks the protocol."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest

from store.access.audit import Actor
from store.blobs import objects as object_blobs
from store.blobs.object_store import s3_store
from store.blobs.objects import ObjectBlobStore
from store.blobs.opening import open_blob_store
from store.errors import BlobCorruptError, BlobMissingError, BlobStoreAwayError
from store.schema.database import Database
from store.schema.tables import VersionRow
from store.upkeep.garbage_collection import collect
from tests.store.conftest import Accept, publish
from tests.support.s3_server import SECRET, Bucket

ADA = Actor("cli:ada")
QUICK: dict[str, Any] = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


def key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def test_a_blob_is_named_by_its_content_and_kept_once(bucket: Bucket) -> None:
    store = open_blob_store(bucket.url, bucket.access)
    name = store.put(b"delta")
    assert name == hashlib.sha256(b"delta").hexdigest()
    assert store.put(b"delta") == name
    assert (store.get(name), store.exists(name), store.size(name)) == (b"delta", True, 5)
    assert bucket.names() == [key(name)]
    assert not store.exists("0" * 64)


@pytest.mark.parametrize("damage", [b"", b"delt", b"dElta"])
def test_a_damaged_blob_is_never_returned_and_mended_by_putting_it_again(bucket: Bucket, damage: bytes) -> None:
    name = bucket.blobs.put(b"delta")
    obstore.put(bucket.raw, key(name), damage)
    for read in (bucket.blobs.get, bucket.blobs.chunks):
        with pytest.raises(BlobCorruptError, match=rf"{name} in s3://{bucket.name}/some/prefix does not match"):
            read(name)
    bucket.blobs.put(b"delta")
    assert bucket.blobs.get(name) == b"delta"


def test_a_missing_blob_is_named(bucket: Bucket) -> None:
    for read in (bucket.blobs.get, bucket.blobs.size, bucket.blobs.chunks):
        with pytest.raises(BlobMissingError, match="0" * 64):
            read("0" * 64)
    with pytest.raises(ValueError, match="not a SHA-256"):
        bucket.blobs.get("../../other")


def test_large_blobs_come_in_pieces_that_were_checked(bucket: Bucket) -> None:
    content = bytes(range(256)) * 30_000
    name = bucket.blobs.put(content)
    pieces = list(bucket.blobs.chunks(name))
    assert b"".join(pieces) == content
    assert len(pieces) > 1


def test_what_was_changed_after_the_check_is_not_handed_on(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    pieces = bucket.blobs.chunks(name)
    obstore.put(bucket.raw, key(name), b"dElta")
    with pytest.raises(BlobStoreAwayError, match=name):
        list(pieces)


def test_others_objects_are_no_blobs(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    for foreign in ("notes.txt", f"{name[:2]}/{name}.bak", "zz/" + "z" * 64):
        obstore.put(bucket.raw, foreign, b"something else")
    assert [(one.sha256, one.bytes) for one in bucket.blobs.entries()] == [(name, 5)]
    (entry,) = bucket.blobs.entries()
    assert abs(entry.put_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_prefix_is_a_store_of_its_own(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    assert not replace(bucket, prefix="other").blobs.exists(name)
    assert list(replace(bucket, prefix="some/prefi").blobs.entries()) == []


def test_an_object_that_is_there_is_not_overwritten_by_one_who_did_not_see_it(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    assert not bucket.blobs._create(key(name), b"delta")
    seen = obstore.head(bucket.raw, key(name))
    obstore.put(bucket.raw, key(name), b"another")
    assert not bucket.blobs._renew(key(name), b"delta", seen)
    assert bytes(obstore.get(bucket.raw, key(name)).bytes()) == b"another"


def test_old_blobs_are_discarded_and_young_ones_stay(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    assert not bucket.blobs.discard(name, datetime.now(UTC) - timedelta(days=1))
    assert not bucket.blobs.discard("0" * 64, soon())
    assert bucket.blobs.discard(name, soon())
    assert bucket.names() == []


def test_a_blob_put_again_counts_as_young(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    bucket.age(days=5)
    before = datetime.now(UTC) - timedelta(days=2)
    bucket.blobs.put(b"delta")
    assert not bucket.blobs.discard(name, before)
    assert bucket.blobs.get(name) == b"delta"


def test_a_file_is_the_same_blob_as_its_content(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blobs, "_PART", 5 << 20)
    content = bytes(range(256)) * 44_000  # three parts
    file = tmp_path / "large"
    file.write_bytes(content)
    name = bucket.blobs.put_file(file)
    assert name == hashlib.sha256(content).hexdigest()
    assert bucket.blobs.get(name) == content
    obstore.put(bucket.raw, key(name), b"damaged")
    bucket.age(days=5)
    assert bucket.blobs.put_file(file) == name
    assert bucket.blobs.get(name) == content
    assert not bucket.blobs.discard(name, datetime.now(UTC) - timedelta(days=2))


def test_a_file_put_while_it_is_discarded_is_there_when_its_put_returns(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blobs, "_PAUSE_SECONDS", 0.05)
    file = tmp_path / "file"
    file.write_bytes(b"delta")
    name = bucket.blobs.put_file(file)
    bucket.age(days=5)
    there: list[bool] = []

    def put() -> None:
        bucket.blobs.put_file(file)
        there.append(bucket.blobs.exists(name))

    putting = threading.Thread(target=put)
    assert Interrupted(bucket, putting).discard(name, datetime.now(UTC) - timedelta(days=2))
    putting.join()
    assert there == [True]
    assert bucket.names() == [key(name)]


class Interrupted(ObjectBlobStore):
    """A collection in whose midst somebody puts the blob that it is about to delete."""

    def __init__(self, bucket: Bucket, putting: threading.Thread, patience: float = 0.3) -> None:
        super().__init__(bucket.raw, bucket.url)
        self._putting = putting
        self._patience = patience
        self._looked = 0

    def _is_older(self, sha256: str, before: datetime) -> bool:
        older = super()._is_older(sha256, before)
        self._looked += 1
        if self._looked == 2:  # the last look before it goes
            self._putting.start()
            self._putting.join(timeout=self._patience)
        return older


def test_a_blob_put_while_it_is_discarded_is_there_when_its_put_returns(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blobs, "_PAUSE_SECONDS", 0.05)
    name = bucket.blobs.put(b"delta")
    bucket.age(days=5)
    there: list[bool] = []

    def put() -> None:
        bucket.blobs.put(b"delta")
        there.append(bucket.blobs.exists(name))

    putting = threading.Thread(target=put)
    assert Interrupted(bucket, putting).discard(name, datetime.now(UTC) - timedelta(days=2))
    putting.join()
    assert there == [True]
    assert bucket.names() == [key(name)]


def test_a_blob_put_between_a_delete_and_its_repetition_is_there_when_its_put_returns(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blobs, "_PAUSE_SECONDS", 0.05)
    name = bucket.blobs.put(b"delta")
    bucket.age(days=5)
    there: list[bool] = []

    def put() -> None:
        bucket.blobs.put(b"delta")
        there.append(bucket.blobs.exists(name))

    putting = threading.Thread(target=put)

    class Repeated(ObjectBlobStore):
        """A collection whose DELETE is carried out, is not answered, and is sent again by its client."""

        def _delete(self, path: str) -> None:
            super()._delete(path)
            if path == key(name):
                putting.start()
                putting.join(timeout=0.3)
                super()._delete(path)

    assert Repeated(bucket.raw, bucket.url).discard(name, datetime.now(UTC) - timedelta(days=2))
    putting.join()
    assert there == [True]
    assert bucket.names() == [key(name)]


def test_a_blob_put_while_two_collections_discard_it_is_there_when_its_put_returns(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blobs, "_PAUSE_SECONDS", 0.05)
    name = bucket.blobs.put(b"delta")
    bucket.age(days=5)
    before = datetime.now(UTC) - timedelta(days=2)
    there: list[bool] = []

    def other_collection_and_put() -> None:
        assert bucket.blobs.discard(name, before)
        bucket.blobs.put(b"delta")
        there.append(bucket.blobs.exists(name))

    putting = threading.Thread(target=other_collection_and_put)
    Interrupted(bucket, putting, patience=1).discard(name, before)
    putting.join()
    assert there == [True]
    assert bucket.names() == [key(name)]


def test_a_mark_that_was_left_does_not_stop_anybody_for_long(bucket: Bucket) -> None:
    name = bucket.blobs.put(b"delta")
    obstore.put(bucket.raw, f".discarding/{name}/{'0' * 32}", b"")
    bucket.age(days=1)
    bucket.blobs.put(b"delta")
    assert bucket.blobs.sweep(datetime.now(UTC) - timedelta(hours=1)) == 1
    assert bucket.names() == [key(name)]


def test_garbage_is_collected_there_too(database: Database, bucket: Bucket, accept: Accept) -> None:
    blobs = bucket.blobs
    named, matrices, garbage = blobs.put(b"delta"), blobs.put(b"matrices"), blobs.put(b"nobody's")
    with database.writing() as session:
        row = accept(session)
        row.base_version = 0
        version = publish(session, row)
        version.blob, version.matrix_blobs = named, {"1": matrices}
        assert isinstance(version, VersionRow)
    bucket.age(days=3)
    young = blobs.put(b"nobody's yet")
    looked = collect(database, blobs, timedelta(days=1), ADA, delete=False)
    assert ([one.sha256 for one in looked.blobs], looked.kept) == ([garbage], 3)
    assert blobs.exists(garbage)
    assert [one.sha256 for one in collect(database, blobs, timedelta(days=1), ADA, delete=True).blobs] == [garbage]
    assert sorted(one.sha256 for one in blobs.entries()) == sorted([named, matrices, young])


def test_a_store_that_is_not_there_is_said_to_be_away(bucket: Bucket) -> None:
    nowhere = s3_store(bucket.url, replace(bucket.access, endpoint="http://127.0.0.1:9"), QUICK)
    store = ObjectBlobStore(nowhere, bucket.url)
    for use in (store.get, store.exists, store.size, store.chunks):
        with pytest.raises(BlobStoreAwayError, match=rf"s3://{bucket.name}/some/prefix does not answer") as away:
            use("0" * 64)
        assert SECRET not in str(away.value)
    with pytest.raises(BlobStoreAwayError):
        store.put(b"delta")
    with pytest.raises(BlobStoreAwayError):
        list(store.entries())


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket) -> None:
    with pytest.raises(BlobStoreAwayError, match="there is no such bucket; make it first"):
        replace(bucket, name="nobodys-bucket").blobs.put(b"delta")
