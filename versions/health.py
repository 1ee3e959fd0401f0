"""Whether SQL and blobs can be written at present, and what keeps them from it, in plain words."""

from __future__ import annotations

import errno
import os
import threading
import time
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from versions.blobs import BlobStore, FolderBlobStore
from versions.clock import now
from versions.database import Database
from versions.errors import BlobError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
WILL_PASS: Final = FULL | READ_ONLY | {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV}
"""What a disk or a network share says that somebody can mend: what was to be written can be written later."""
OF_A_DISK: Final = WILL_PASS | {errno.EIO}

_TABLES: Final = "the database lacks this release's tables; run `emmetd migrate`"
_SQLITE: Final = {
    "disk is full": "the database's disk is full; free some space",
    "readonly database": "the database is read-only; make its folder and files writable",
    "unable to open database": "the database's file cannot be opened; is its folder there, and writable?",
    "disk I/O error": "the database's disk fails (I/O error); the system's log says more",
    "database is locked": "the database is kept busy by another writer",
    "no such table": _TABLES,
    "no such column": _TABLES,
}
# A connection that is refused has no SQLSTATE: all that there is is what the server said.
_REFUSED: Final = {
    "authentication failed": "the database refuses the user or password of EMMETD_DATABASE_URL",
    "no pg_hba.conf entry": "the database refuses this machine or user (pg_hba.conf)",
}
_POSTGRES: Final = {
    "53100": "the database's disk is full; free some space on PostgreSQL's machine",
    "25006": "the database is read-only; is this a standby?",
    "0A000": "the database is read-only; is this a standby?",  # it may not even begin a transaction that writes
    "42P01": _TABLES,
    "42703": _TABLES,
    "55P03": "the database is kept busy by another writer",
}
_FRESH_SECONDS: Final = 5.0
_REFUSAL_SECONDS: Final = 1.0
_PROBE_BYTES: Final = 4096


def database_trouble(error: Exception) -> str:
    """What an error of the database means."""
    if isinstance(error, PoolTimeoutError):
        return "the database is busy: all connections are in use"
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state in _POSTGRES:
            return _POSTGRES[state]
        for said, meaning in (_SQLITE | _REFUSED).items():
            if said in str(error.orig):
                return meaning
    return "the database does not answer"


def disk_trouble(error: OSError) -> str:
    """What an error of a disk means."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        return f"the disk is full; free some space{where}"
    if error.errno in READ_ONLY:
        return f"the disk cannot be written ({error.strerror}){where}"
    return f"the disk fails ({error.strerror or error}){where}"


def probe_database(database: Database) -> None:
    """Write something that changes nothing. Raises SQLAlchemyError."""
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = version_num"))


def probe_blobs(blobs: BlobStore) -> None:
    """Write a blob, read it and take it away. Raises BlobError or OSError."""
    if not isinstance(blobs, FolderBlobStore):
        # One small object, the same each time: object stores do not run full, and each deletion leaves a mark there.
        blobs.get(blobs.put(b"emmetd"))
        return
    sha256 = blobs.put(os.urandom(_PROBE_BYTES))
    try:
        blobs.get(sha256)
    finally:
        blobs.discard(sha256, now() + timedelta(hours=1))


class StorageHealth:
    """What keeps from writing, as it was at most a few seconds ago: those who ask often do not write often.

    A refusal is looked at again after a second, so that whoever mended it soon sees that it is mended.
    """

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._problems: list[str] = []

    def problems(self) -> list[str]:
        """In words; nothing where both take writes."""
        with self._lock:
            kept = _REFUSAL_SECONDS if self._problems else _FRESH_SECONDS
            if time.monotonic() - self._read_at > kept:
                self._problems = self._look()
                self._read_at = time.monotonic()
            return list(self._problems)

    def _look(self) -> list[str]:
        found = []
        try:
            probe_database(self._database)
        except SQLAlchemyError as error:
            found.append(database_trouble(error))
        try:
            probe_blobs(self._blobs)
        except BlobError as error:
            found.append(str(error))
        except OSError as error:
            found.append(f"blobs: {disk_trouble(error)}")
        return found
