"""Blobs as objects of an S3-compatible store, below a prefix, in the order of a folder's: `ab/ab…`.

Writes are conditional: a new object only where there is none, an existing one only while it is the one that was seen.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from store.blobs.blob_store import StoredBlob, check_name
from store.blobs.object_store import asking
from store.errors import BlobCorruptError, BlobMissingError, BlobStoreAwayError

if TYPE_CHECKING:
    from obstore import ObjectMeta

_KEY: Final = re.compile(r"^[0-9a-f]{2}/([0-9a-f]{64})$")
_MARKS: Final = ".discarding"
_MARK_HOLDS: Final = timedelta(minutes=10)
"""Older marks were left by a collection that broke off."""
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.5
_PIECE: Final = 1 << 20
_PART: Final = 64 << 20
"""Bytes of a part of an upload: the 10,000 that an object may have hold 600 GB."""


class ObjectBlobStore:
    """Blobs below `url`, s3://bucket/prefix, which errors name.

    An object's time of last change is when its blob was last put: putting it again writes it again. A collection of
    garbage marks what it is about to delete before it looks a last time; whoever put the same blob meanwhile sees the
    mark, or the blob gone, and puts it once more. So nothing is lost that was put before it was named.
    """

    def __init__(self, store: S3Store, url: str) -> None:
        self.url = url
        self._store = store

    def exists(self, sha256: str) -> bool:
        return self._head(_key(sha256)) is not None

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        for _ in range(_TRIES):
            known = self._head(_key(sha256))
            if known is None:
                if self._create(_key(sha256), content) and self._stays(sha256):
                    return sha256
            elif self._renew(_key(sha256), content, known) and self._stays(sha256):
                return sha256
        raise self._being_deleted(sha256)

    def put_file(self, path: Path) -> str:
        """Uploaded in parts, since one request carries 5 GB at most.

        Such an upload cannot be conditional. It need not be: what it may write over has the same name and so the same
        content, and a collection that deletes it meanwhile has left its mark, as for `put`.
        """
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        for _ in range(_TRIES):
            with asking(self.url):
                try:
                    obstore.put(self._store, _key(sha256), path, use_multipart=True, chunk_size=_PART)
                except FileNotFoundError as error:
                    raise BlobStoreAwayError(f"{self.url}: there is no such bucket; make it first") from error
            if self._stays(sha256):
                return sha256
        raise self._being_deleted(sha256)

    def get(self, sha256: str) -> bytes:
        with asking(self.url):
            try:
                content = bytes(obstore.get(self._store, _key(sha256)).bytes())
            except FileNotFoundError:
                raise self._missing(sha256) from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise self._corrupt(sha256)
        return content

    def part(self, sha256: str, start: int, length: int) -> bytes:
        end = min(start + length, self.size(sha256))
        if end <= start:
            return b""
        with asking(self.url):
            try:
                return bytes(obstore.get_range(self._store, _key(sha256), start=start, end=end))
            except FileNotFoundError:
                raise self._missing(sha256) from None

    def size(self, sha256: str) -> int:
        known = self._head(_key(sha256))
        if known is None:
            raise self._missing(sha256)
        return known["size"]

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Read twice: once to check it, then, while it is still that very object, to hand it on."""
        known = self._head(_key(sha256))
        if known is None:
            raise self._missing(sha256)
        digest = hashlib.sha256()
        for piece in self._pieces(sha256, known):
            digest.update(piece)
        if digest.hexdigest() != sha256:
            raise self._corrupt(sha256)
        return self._pieces(sha256, known)

    def entries(self) -> Iterator[StoredBlob]:
        for one in self._listed(None):
            if found := _KEY.match(one["path"]):
                yield StoredBlob(found[1], one["size"], one["last_modified"])

    def discard(self, sha256: str, before: datetime) -> bool:
        if not self._is_older(sha256, before):
            return False
        mark = f"{_marks(sha256)}/{uuid4().hex}"  # its own: another collection takes its mark away when it is done
        with asking(self.url):
            obstore.put(self._store, mark, b"")
        try:
            if not self._is_older(sha256, before):
                return False
            self._delete(_key(sha256))
            return True
        finally:
            self._delete(mark)

    def sweep(self, before: datetime) -> int:
        """Delete marks that a collection left before then; the number of them. An object is never half written."""
        stale = [one["path"] for one in self._listed(_MARKS) if one["last_modified"] < before]
        for path in stale:
            self._delete(path)
        return len(stale)

    def _create(self, key: str, content: bytes) -> bool:
        with asking(self.url):
            try:
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            except FileNotFoundError as error:
                raise BlobStoreAwayError(f"{self.url}: there is no such bucket; make it first") from error
        return True

    def _renew(self, key: str, content: bytes, known: ObjectMeta) -> bool:
        """Write it again, damaged or not, so that its time begins anew; not where it is another one by now."""
        tag = known["e_tag"]
        with asking(self.url):
            try:
                obstore.put(
                    self._store, key, content, mode="overwrite" if tag is None else {"e_tag": tag}, use_multipart=False
                )
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return False
        return True

    def _stays(self, sha256: str) -> bool:
        """Whether nobody is deleting what was just put. Marks are looked for first: they go last.

        Also what was created where there was nothing: a DELETE whose answer was lost is sent again.
        """
        marks = list(self._listed(_marks(sha256)))
        known = self._head(_key(sha256))
        if known is None:
            return False
        if all(known["last_modified"] - mark["last_modified"] > _MARK_HOLDS for mark in marks):
            return True
        time.sleep(_PAUSE_SECONDS)
        return False

    def _is_older(self, sha256: str, before: datetime) -> bool:
        known = self._head(_key(sha256))
        return known is not None and known["last_modified"] < before

    def free_bytes(self) -> None:
        """A bucket has no bound."""

    def _head(self, key: str) -> ObjectMeta | None:
        with asking(self.url):
            try:
                return obstore.head(self._store, key)
            except FileNotFoundError:
                return None

    def _listed(self, prefix: str | None) -> Iterator[ObjectMeta]:
        with asking(self.url):
            for page in obstore.list(self._store, prefix, chunk_size=1000):
                yield from page

    def _delete(self, key: str) -> None:
        with asking(self.url), suppress(FileNotFoundError):  # some stores say so
            obstore.delete(self._store, key)

    def _pieces(self, sha256: str, known: ObjectMeta) -> Iterator[bytes]:
        with asking(self.url):
            try:
                found = obstore.get(self._store, _key(sha256), options={"if_match": known["e_tag"]})
                for piece in found.stream(min_chunk_size=_PIECE):
                    yield bytes(piece)
            except FileNotFoundError:
                raise self._missing(sha256) from None
            except PreconditionError:
                raise BlobStoreAwayError(f"blob {sha256} in {self.url} was put again while it was read") from None

    def _being_deleted(self, sha256: str) -> BlobStoreAwayError:
        return BlobStoreAwayError(f"blob {sha256} is being deleted from {self.url} and cannot be put; try again later")

    def _missing(self, sha256: str) -> BlobMissingError:
        return BlobMissingError(f"blob {sha256} is not in {self.url}; restore it from a backup")

    def _corrupt(self, sha256: str) -> BlobCorruptError:
        return BlobCorruptError(f"blob {sha256} in {self.url} does not match its hash; restore it from a backup")


def _key(sha256: str) -> str:
    check_name(sha256)
    return f"{sha256[:2]}/{sha256}"


def _marks(sha256: str) -> str:
    """Below it each collection that is about to delete the blob leaves a mark."""
    check_name(sha256)
    return f"{_MARKS}/{sha256}"
