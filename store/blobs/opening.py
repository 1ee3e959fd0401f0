"""From a blob URL to the store behind it."""

from __future__ import annotations

from pathlib import Path

from configuration.s3_settings import S3Access
from store.blobs.blob_store import BlobStore
from store.blobs.folder import FolderBlobStore


def open_blob_store(url: str, access: S3Access | None = None) -> BlobStore:
    """`url` is a folder, as a path or `file://` URL, or s3://bucket/prefix, reached by `access`."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "s3":
        from store.blobs.object_store import s3_store
        from store.blobs.objects import ObjectBlobStore  # most have no need of its client

        return ObjectBlobStore(s3_store(url, access or S3Access()), url)
    if separator and scheme != "file":
        raise ValueError(f"blob_url {url!r}: give a path, file:///path or s3://bucket/prefix")
    return FolderBlobStore(Path(rest if separator else url))
