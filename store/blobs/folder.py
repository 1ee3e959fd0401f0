"""Blobs as files of a local folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from store.blobs.blob_store import StoredBlob, check_name, is_name
from store.errors import BlobCorruptError, BlobMissingError, BlobStoreAwayError

_PIECE = 1 << 20


class FolderBlobStore:
    """Blobs as files of a local folder, in sub-folders by the first two digits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._was_there = folder.is_dir()

    def path(self, sha256: str) -> Path:
        check_name(sha256)
        return self.folder / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def put(self, content: bytes) -> str:
        return self._keep(hashlib.sha256(content).hexdigest(), (content,))

    def put_file(self, path: Path) -> str:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return self._keep(sha256, _pieces_of(path))

    def _keep(self, sha256: str, pieces: Iterable[bytes]) -> str:
        target = self.path(sha256)
        try:
            if _is_whole(target, sha256):
                os.utime(target)  # so that a collection of garbage knows that somebody is about to name it
                return sha256
        except FileNotFoundError:
            pass
        if self._was_there:
            self._check_that_it_is_there()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._was_there = True
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        # The name is on the disk only once its folder is; the new sub-folder's own name lies one level up.
        for folder in (target.parent, self.folder):
            sync_folder(folder)
        return sha256

    def get(self, sha256: str) -> bytes:
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise self._missing(sha256) from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise self._corrupt(sha256)
        return content

    def part(self, sha256: str, start: int, length: int) -> bytes:
        try:
            with self.path(sha256).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except FileNotFoundError:
            raise self._missing(sha256) from None

    def size(self, sha256: str) -> int:
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            raise self._missing(sha256) from None

    def chunks(self, sha256: str) -> Iterator[bytes]:
        try:
            file = self.path(sha256).open("rb")
        except FileNotFoundError:
            raise self._missing(sha256) from None
        try:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise self._corrupt(sha256)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return _pieces(file)

    def entries(self) -> Iterator[StoredBlob]:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if not is_name(path.name):
                continue
            try:
                about = path.stat()
            except FileNotFoundError:  # discarded meanwhile
                continue
            yield StoredBlob(path.name, about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))

    def discard(self, sha256: str, before: datetime) -> bool:
        path = self.path(sha256)
        away = path.with_name(f".discarded-{sha256}")
        try:
            if path.stat().st_mtime >= before.timestamp():
                return False
            os.replace(path, away)
            # Whoever put it between the look and the renaming touched this very file; from now on it is written anew.
            if away.stat().st_mtime >= before.timestamp():
                os.replace(away, path)
                return False
            away.unlink()
        except FileNotFoundError:  # it is not there, or another collection is at it
            return False
        return True

    def sweep(self, before: datetime) -> int:
        swept = 0
        for path in [*self.folder.glob("*/.partial-*"), *self.folder.glob("*/.discarded-*")]:
            try:
                if path.stat().st_mtime >= before.timestamp():
                    continue
                path.unlink()
            except FileNotFoundError:  # its writer has finished meanwhile
                continue
            swept += 1
        return swept

    def free_bytes(self) -> int:
        if self._was_there:
            self._check_that_it_is_there()
        # The first blob makes the folder: until then what counts is the disk that it will be made on.
        there = next(path for path in (self.folder, *self.folder.absolute().parents) if path.is_dir())
        return shutil.disk_usage(there).free

    def _check_that_it_is_there(self) -> None:
        """A folder that was there comes back one day; what was written in its place until then would be hidden."""
        if not self.folder.is_dir():
            raise BlobStoreAwayError(f"the folder of blobs {self.folder} is gone; is its disk or share mounted?")

    def _missing(self, sha256: str) -> BlobMissingError:
        self._check_that_it_is_there()
        return BlobMissingError(f"blob {sha256} is not in {self.folder}; restore it from a backup")

    def _corrupt(self, sha256: str) -> BlobCorruptError:
        return BlobCorruptError(f"blob {sha256} in {self.folder} does not match its hash; restore it from a backup")


def _is_whole(path: Path, sha256: str) -> bool:
    """Whether the file is what its name says. Raises FileNotFoundError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False  # some of it cannot be read any more


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def _pieces_of(path: Path) -> Iterator[bytes]:
    """The file is opened with the first piece: where none is asked for, none has to be closed."""
    yield from _pieces(path.open("rb"))


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
