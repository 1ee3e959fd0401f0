"""Bundles: where versions lie that travel from one store to another, as a folder or below s3://bucket/prefix.

`blobs/` is a blob store, `versions/NAME@vN.json` the manifest of each version. Several versions share their blobs.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from api_schemas.references import parse_reference
from configuration.s3_settings import S3Access
from versions.blobs import BlobStore, open_blob_store
from versions.errors import BundleNotFoundError

_MANIFESTS: Final = "versions"
_NAME: Final = re.compile(r"^(?P<reference>[a-z0-9][a-z0-9._-]{0,63}@v[1-9]\d{0,8})\.json$")


class _Manifests(Protocol):
    def names(self) -> Iterator[str]: ...

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def write(self, name: str, content: bytes) -> None: ...


class Bundle:
    def __init__(self, url: str, blobs: BlobStore, manifests: _Manifests) -> None:
        self.url = url
        self.blobs = blobs
        self._manifests = manifests

    def versions(self) -> list[str]:
        """NAME@vN of each version in it, by name and number."""
        found = [match["reference"] for name in self._manifests.names() if (match := _NAME.match(name))]
        return sorted(found, key=lambda reference: (reference.partition("@")[0], parse_reference(reference).version))

    def read(self, reference: str) -> bytes:
        """The manifest of NAME@vN. Raises BundleNotFoundError naming what there is."""
        try:
            return self._manifests.read(f"{reference}.json")
        except FileNotFoundError:
            known = ", ".join(self.versions()) or "none"
            raise BundleNotFoundError(f"{self.url} has no {reference}; its versions: {known}") from None

    def write(self, reference: str, content: bytes) -> None:
        """Keep a manifest; the blobs that it names must be there already."""
        self._manifests.write(f"{reference}.json", content)


def open_bundle(url: str, access: S3Access | None = None) -> Bundle:
    """`url` is a folder, as a path or `file://` URL, or s3://bucket/prefix, reached by `access`."""
    url = url.rstrip("/")
    blobs = open_blob_store(f"{url}/blobs", access)
    if url.startswith("s3://"):
        return Bundle(url, blobs, _Objects(f"{url}/{_MANIFESTS}", access or S3Access()))
    return Bundle(url, blobs, _Files(Path(url.removeprefix("file://")) / _MANIFESTS))


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            yield from sorted(path.name for path in self._folder.iterdir())

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


class _Objects:
    def __init__(self, url: str, access: S3Access) -> None:
        from versions.object_store import s3_store

        self._url = url
        self._store = s3_store(url, access)

    def names(self) -> Iterator[str]:
        import obstore

        from versions.object_store import asking

        with asking(self._url):
            for page in obstore.list(self._store, chunk_size=1000):
                yield from (one["path"] for one in page)

    def read(self, name: str) -> bytes:
        import obstore

        from versions.object_store import asking

        with asking(self._url):
            return bytes(obstore.get(self._store, name).bytes())

    def write(self, name: str, content: bytes) -> None:
        import obstore

        from versions.object_store import asking

        with asking(self._url):
            obstore.put(self._store, name, content, use_multipart=False)
