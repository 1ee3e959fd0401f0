"""Bundles: containers of versions that travel from one store to another, a folder or objects below s3://bucket/prefix.

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
from store.blobs.blob_store import BlobStore
from store.blobs.folder import sync_folder
from store.blobs.opening import open_blob_store
from store.errors import BundleNotFoundError

_MANIFESTS: Final = "versions"
_NAME: Final = re.compile(r"^(?P<reference>[a-z0-9][a-z0-9._-]{0,63}@v[1-9]\d{0,8})\.json$")


class _Manifests(Protocol):
    def names(self) -> Iterator[str]: ...

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def create(self, name: str, content: bytes) -> None:
        """Raises FileExistsError, and keeps what is there."""
        ...


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

    def add(self, reference: str, content: bytes) -> bool:
        """Keep a manifest; the blobs that it names must be there already. False where NAME@vN has one, which stays."""
        try:
            self._manifests.create(f"{reference}.json", content)
        except FileExistsError:
            return False
        return True


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

    def create(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _name_anew(temporary, self._folder / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync_folder(self._folder)  # the name, too, is there after a power cut or a stick that is pulled out


def _name_anew(temporary: str, target: Path) -> None:
    """Give the file its name, if nothing has that yet: whole or not at all. Raises FileExistsError."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # such as a USB stick, whose file system knows no second name of a file
        if target.exists():
            raise FileExistsError(target) from None
        os.replace(temporary, target)


class _Objects:
    def __init__(self, url: str, access: S3Access) -> None:
        from store.blobs.object_store import s3_store

        self._url = url
        self._store = s3_store(url, access)

    def names(self) -> Iterator[str]:
        import obstore

        from store.blobs.object_store import asking

        with asking(self._url):
            for page in obstore.list(self._store, chunk_size=1000):
                yield from (one["path"] for one in page)

    def read(self, name: str) -> bytes:
        import obstore

        from store.blobs.object_store import asking

        with asking(self._url):
            return bytes(obstore.get(self._store, name).bytes())

    def create(self, name: str, content: bytes) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        from store.blobs.object_store import asking

        with asking(self._url):
            try:
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                raise FileExistsError(f"{self._url}/{name}") from None
