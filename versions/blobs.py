"""Where deltas and other large things lie: files named by the SHA-256 of what they hold."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Protocol

from versions.errors import BlobCorruptError, BlobMissingError

_SHA256 = re.compile(r"^[0-9a-f]{64}$")


class BlobStore(Protocol):
    """Content-addressed and immutable: what was put under a hash never changes."""

    def put(self, content: bytes) -> str:
        """Keep `content` durably; its SHA-256 is its name. Putting the same content again does nothing."""
        ...

    def get(self, sha256: str) -> bytes:
        """The content, checked against its name. Raises BlobMissingError or BlobCorruptError."""
        ...

    def exists(self, sha256: str) -> bool: ...


class FolderBlobStore:
    """Blobs as files of a local folder, in sub-folders by the first two digits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        if not _SHA256.match(sha256):
            raise ValueError(f"{sha256!r} is not a SHA-256 in hexadecimal")
        return self.folder / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        target = self.path(sha256)
        if target.is_file():
            return sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        # The name is on the disk only once its folder is; the new sub-folder's own name lies one level up.
        for folder in (target.parent, self.folder):
            _sync_folder(folder)
        return sha256

    def get(self, sha256: str) -> bytes:
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise BlobMissingError(f"blob {sha256} is not in {self.folder}; restore it from a backup") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobCorruptError(f"blob {sha256} in {self.folder} does not match its hash; restore it from a backup")
        return content


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_blob_store(url: str) -> BlobStore:
    """`url` is a folder, as a path or `file://` URL."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme != "file":
        raise ValueError(f"blob_url {url!r}: only folders are supported; give a path or file:///path")
    return FolderBlobStore(Path(rest if separator else url))
