"""Availability of the database and the blob store: probes of writes, errors in plain words, and waiting for them."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from store.blobs.blob_store import BlobStore
from store.blobs.folder import FolderBlobStore
from store.clock import now
from store.errors import BlobError, DatabaseAwayError, DatabaseRefusedError
from store.schema.database import Database

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
WILL_PASS: Final = FULL | READ_ONLY | {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV}
"""What a disk or a network share says that somebody can mend: what was to be written can be written later."""
OF_A_DISK: Final = WILL_PASS | {errno.EIO}

_TABLES: Final = "the database lacks this release's tables; run `emmetd migrate`"
_UNSPECIFIED: Final = "the database does not answer"


class _ErrorMeaning(NamedTuple):
    """Words of a server's or driver's error, what they mean, and whether waiting is in vain."""

    words: str
    meaning: str
    for_good: bool = False


# A connection that fails has no SQLSTATE: all that libpq tells is what the server said, in the server's language.
_MEANINGS: Final = (
    _ErrorMeaning("disk is full", "the database's disk is full; free some space"),
    _ErrorMeaning("readonly database", "the database is read-only; make its folder and files writable"),
    _ErrorMeaning(
        "unable to open database file", "the database's file cannot be opened; is its folder there, and writable?", True
    ),
    _ErrorMeaning(
        "unable to open database", "the database's file cannot be opened; is its folder there, and writable?"
    ),
    _ErrorMeaning("disk I/O error", "the database's disk fails (I/O error); the system's log says more"),
    _ErrorMeaning("database is locked", "the database is kept busy by another writer"),
    _ErrorMeaning("no such table", _TABLES),
    _ErrorMeaning("no such column", _TABLES),
    _ErrorMeaning("authentication failed", "the database refuses the user or password of EMMETD_DATABASE_URL", True),
    _ErrorMeaning("no pg_hba.conf entry", "the database refuses this machine or user (pg_hba.conf)", True),
    _ErrorMeaning("no password supplied", _UNSPECIFIED, True),
    _ErrorMeaning("does not exist", _UNSPECIFIED, True),
    _ErrorMeaning("is not permitted to log in", _UNSPECIFIED, True),
    _ErrorMeaning("does not support SSL", _UNSPECIFIED, True),
    _ErrorMeaning("certificate verify failed", _UNSPECIFIED, True),
)
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
RETRY_SECONDS: Final = 2.0
FIRST_REMINDER_SECONDS: Final = 15.0
LONGEST_REMINDER_SECONDS: Final = 600.0


def database_trouble(error: Exception) -> str:
    """What an error of the database means."""
    if isinstance(error, PoolTimeoutError):
        return "the database is busy: all connections are in use"
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state in _POSTGRES:
            return _POSTGRES[state]
        for known in _MEANINGS:
            if known.words in str(error.orig):
                return known.meaning
    return _UNSPECIFIED


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
            max_age = _REFUSAL_SECONDS if self._problems else _FRESH_SECONDS
            if time.monotonic() - self._read_at > max_age:
                self._problems = self._probe()
                self._read_at = time.monotonic()
            return list(self._problems)

    def _probe(self) -> list[str]:
        problems = []
        try:
            probe_database(self._database)
        except SQLAlchemyError as error:
            problems.append(database_trouble(error))
        try:
            probe_blobs(self._blobs)
        except BlobError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"blobs: {disk_trouble(error)}")
        return problems


class Reminders:
    """Saying that something is waited for, ever more rarely.

    `due` is True for what is new, and for the same again after 15 s, 30 s more, 60 s more … at most ten minutes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._about: str | None = None
        self._pause = FIRST_REMINDER_SECONDS
        self._next = 0.0

    def due(self, about: str) -> bool:
        """Whether `about` is to be said now."""
        moment = self._clock()
        if about != self._about:
            self._about, self._pause = about, FIRST_REMINDER_SECONDS
        elif moment < self._next:
            return False
        else:
            self._pause = min(2 * self._pause, LONGEST_REMINDER_SECONDS)
        self._next = moment + self._pause
        return True


OnWait = Callable[[str, float], None]
"""Is told why the database is waited for, and for how many seconds more."""


def reason_of(error: DBAPIError) -> str:
    """What the driver said, as one line."""
    return " ".join(str(error.orig).split())


def refused_for_good(error: DBAPIError) -> bool:
    """Whether waiting is in vain: a wrong password, user, name or option, not a server that is away."""
    if not isinstance(error, OperationalError | InterfaceError):
        return True
    return any(known.for_good and known.words in str(error.orig) for known in _MEANINGS)


def why_unreachable(database: Database) -> str | None:
    """Why `database` does not answer at present; None where it does.

    Raises `DatabaseRefusedError` where it never will with this URL.
    """
    try:
        with database.reading() as session:
            session.connection().exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        if refused_for_good(error):
            raise DatabaseRefusedError(reason_of(error)) from None
        return reason_of(error)
    return None


def await_database(
    database: Database, seconds: float, tell: OnWait, *, wait: Callable[[float], object] = time.sleep
) -> None:
    """Return once `database` answers; `tell` hears of the wait when it begins and then ever more rarely.

    Raises `DatabaseRefusedError` at once and `DatabaseAwayError` after `seconds`.
    """
    end = time.monotonic() + seconds
    reminders = Reminders()
    while (reason := why_unreachable(database)) is not None:
        left = end - time.monotonic()
        if left <= 0:
            raise DatabaseAwayError(f"it did not answer within {seconds:g} s: {reason}")
        if reminders.due(reason):
            tell(reason, left)
        wait(min(RETRY_SECONDS, left))
