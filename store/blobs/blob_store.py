"""What a blob store is: where deltas and other large things lie, named by the SHA-256 of their content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class StoredBlob:
    """`put_at` is when its content was last put, also if it was there already."""

    sha256: str
    bytes: int
    put_at: datetime


class BlobStore(Protocol):
    """Content-addressed and immutable: what was put under a hash never changes."""

    def put(self, content: bytes) -> str:
        """Keep `content` durably; its SHA-256 is its name. Putting it again mends what is there, if that is damaged."""
        ...

    def put_file(self, path: Path) -> str:
        """As `put`, of a file's content in pieces, for what is too large to hold. Nobody may write to it meanwhile."""
        ...

    def get(self, sha256: str) -> bytes:
        """The content, checked against its name. Raises BlobMissingError or BlobCorruptError."""
        ...

    def part(self, sha256: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` on, not checked against the name. Raises BlobMissingError."""
        ...

    def exists(self, sha256: str) -> bool: ...

    def size(self, sha256: str) -> int:
        """Bytes of the blob. Raises BlobMissingError."""
        ...

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """The content in pieces, for what is too large to hold.

        All of it is checked before this returns, so that nothing damaged is ever handed on. Raises as `get` does.
        """
        ...

    def entries(self) -> Iterator[StoredBlob]:
        """Every blob that is there."""
        ...

    def discard(self, sha256: str, before: datetime) -> bool:
        """Delete the blob if it was last put before then; whether it was."""
        ...

    def sweep(self, before: datetime) -> int:
        """Delete what interrupted writes and collections left before then; how much that was."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that may still be written; None where nothing bounds them. Raises OSError where a disk is away."""
        ...


def is_name(text: str) -> bool:
    """Whether `text` has the form of a blob's name."""
    return _SHA256.match(text) is not None


def check_name(sha256: str) -> None:
    """Raises ValueError where that is no name of a blob."""
    if not is_name(sha256):
        raise ValueError(f"{sha256!r} is not a SHA-256 in hexadecimal")
