"""Blobs are what their name says, or an error; safetensors of ours are the same bytes for the same content."""

from __future__ import annotations

import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from store.blobs.arrays import pack, unpack
from store.blobs.folder import FolderBlobStore
from store.blobs.objects import ObjectBlobStore
from store.blobs.opening import open_blob_store
from store.clock import now
from store.errors import BlobCorruptError, BlobMissingError, BlobStoreAwayError


def test_a_blob_is_named_by_its_content_and_kept_once(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path / "blobs")
    name = store.put(b"delta")
    assert name == hashlib.sha256(b"delta").hexdigest()
    assert store.put(b"delta") == name
    assert store.get(name) == b"delta"
    assert [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == [name]


def test_a_file_is_the_same_blob_as_its_content(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path / "blobs")
    content = bytes(range(256)) * 10_000  # several pieces
    file = tmp_path / "large"
    file.write_bytes(content)
    name = store.put_file(file)
    assert name == store.put(content) == store.put_file(file)
    assert store.get(name) == content
    store.path(name).write_bytes(content[:-1])
    assert store.put_file(file) == name
    assert store.get(name) == content
    assert file.read_bytes() == content
    assert [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == [name]


def test_a_file_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path / "blobs")
    with pytest.raises(FileNotFoundError):
        store.put_file(tmp_path / "gone")
    assert list(store.entries()) == []


def test_it_says_how_much_room_there_is_before_its_folder_is_made_and_not_after_that_is_gone(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path / "not" / "there" / "yet")
    assert store.free_bytes() == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    store.put(b"delta")
    shutil.rmtree(tmp_path / "not")
    with pytest.raises(BlobStoreAwayError, match="is its disk or share mounted"):
        store.free_bytes()


@pytest.mark.parametrize("damage", [b"", b"delt", b"dElta"])
def test_a_damaged_blob_is_never_returned(tmp_path: Path, damage: bytes) -> None:
    store = FolderBlobStore(tmp_path)
    name = store.put(b"delta")
    store.path(name).write_bytes(damage)
    with pytest.raises(BlobCorruptError, match=name):
        store.get(name)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlobMissingError, match="0" * 64):
        FolderBlobStore(tmp_path).get("0" * 64)


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        FolderBlobStore(tmp_path).get("../../etc/passwd")


def test_a_url_says_where_blobs_lie(tmp_path: Path) -> None:
    assert open_blob_store(f"file://{tmp_path}").put(b"x")
    assert isinstance(open_blob_store("s3://bucket/prefix"), ObjectBlobStore)
    for wrong in ("gs://bucket", "s3://b", "s3://bucket/a b"):
        with pytest.raises(ValueError, match="s3://bucket/prefix"):
            open_blob_store(wrong)


def test_the_same_arrays_are_the_same_bytes() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(2)}
    header = {"z": 1, "a": {"y": [1, 2], "x": "é"}}
    content = pack(arrays, header)
    assert content == pack(dict(reversed(arrays.items())), dict(reversed(header.items())))
    found, read = unpack(content)
    assert read == header
    np.testing.assert_array_equal(found["b"], arrays["b"])


@pytest.mark.parametrize("content", [b"", b"garbage" * 20, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_foreign_files_are_refused(content: bytes) -> None:
    with pytest.raises(BlobCorruptError):
        unpack(content)


def test_large_blobs_come_in_pieces_that_were_checked(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    content = bytes(range(256)) * 10_000
    name = store.put(content)
    assert store.size(name) == len(content)
    assert b"".join(store.chunks(name)) == content
    assert [(one.sha256, one.bytes) for one in store.entries()] == [(name, len(content))]
    store.path(name).write_bytes(content[:-1] + b"x")
    with pytest.raises(BlobCorruptError, match=name):
        store.chunks(name)
    with pytest.raises(BlobMissingError):
        store.chunks("0" * 64)
    with pytest.raises(BlobMissingError):
        store.size("0" * 64)


@pytest.mark.parametrize("damage", [b"", b"delt", b"dElta"])
def test_putting_a_blob_again_mends_it(tmp_path: Path, damage: bytes) -> None:
    store = FolderBlobStore(tmp_path)
    name = store.put(b"delta")
    store.path(name).write_bytes(damage)
    store.put(b"delta")
    assert store.get(name) == b"delta"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]


def test_a_sweep_leaves_what_a_writer_finished_meanwhile(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    name = store.put(b"delta")
    left = store.path(name).with_name(".partial-left")
    left.write_bytes(b"del")
    # Listed, and not there any more when it is looked at: as if its writer had just renamed it.
    left.with_name(".partial-renamed").symlink_to(tmp_path / "gone")
    assert store.sweep(now() + timedelta(hours=1)) == 1
    assert not left.exists()
    assert store.get(name) == b"delta"
