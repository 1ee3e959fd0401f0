"""Waiting for a database that does not answer yet, as when all of a machine starts at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from versions.database import Database
from versions.errors import DatabaseAwayError, DatabaseRefusedError
from versions.reminders import Reminders

RETRY_SECONDS: Final = 2.0
# A connection that fails has no SQLSTATE: all that libpq tells is what the server said, in the server's language.
_FOR_GOOD: Final = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "does not support SSL",
    "certificate verify failed",
    "unable to open database file",
)

Tell = Callable[[str, float], None]
"""Is told why the database is waited for, and for how many seconds more."""


def reason_of(error: DBAPIError) -> str:
    """What the driver said, as one line."""
    return " ".join(str(error.orig).split())


def refused_for_good(error: DBAPIError) -> bool:
    """Whether waiting is in vain: a wrong password, user, name or option, not a server that is away."""
    if not isinstance(error, OperationalError | InterfaceError):
        return True
    return any(words in str(error.orig) for words in _FOR_GOOD)


def look(database: Database) -> str | None:
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
    database: Database, seconds: float, tell: Tell, *, wait: Callable[[float], object] = time.sleep
) -> None:
    """Return once `database` answers; `tell` hears of the wait when it begins and then ever more rarely.

    Raises `DatabaseRefusedError` at once and `DatabaseAwayError` after `seconds`.
    """
    end = time.monotonic() + seconds
    reminders = Reminders()
    while (reason := look(database)) is not None:
        left = end - time.monotonic()
        if left <= 0:
            raise DatabaseAwayError(f"it did not answer within {seconds:g} s: {reason}")
        if reminders.due(reason):
            tell(reason, left)
        wait(min(RETRY_SECONDS, left))
