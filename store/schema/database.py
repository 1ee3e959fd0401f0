"""Connections and transactions, on SQLite (one file, WAL) and PostgreSQL alike."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from store.schema import (  # noqa: F401 - whoever has a database knows all tables
    access_tables,
    alias_tables,
    deployment_tables,
    measurement_tables,
    reading_tables,
    tables,
    webhook_tables,
)

MIGRATIONS = Path(__file__).parent / "migrations"
WAIT_SECONDS: Final = 30
"""For so long a writer waits for its turn."""
ABANDONED_SECONDS: Final = 20
"""A writer on PostgreSQL that says nothing for so long is cut off, so that the others get their turn."""
DEFAULT_CONNECTIONS: Final = 30
POOL_WAIT_SECONDS: Final = 30

_KEPT: Final = 10
"""Connections that stay open, at most: a burst's others are closed again."""
_CHANGED: Final = "emmetd_changed_batches"
_READ_ONLY: Final = "emmetd_read_only"
_SQLITE_OPTIONS: Final[tuple[dict[str, Any], dict[str, Any]]] = ({}, {_READ_ONLY: True})
# The isolation is ours to say: under REPEATABLE READ a writer that has waited would still see what was there before.
_POSTGRES_OPTIONS: Final[tuple[dict[str, Any], dict[str, Any]]] = (
    {"isolation_level": "READ COMMITTED"},
    {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True, _READ_ONLY: True},
)
_WRITERS_KEY: Final = 0x656D6D657464  # "emmetd"
_BOUND_WAITS: Final = (
    f"SELECT set_config('lock_timeout', '{WAIT_SECONDS}s', true), "
    f"set_config('idle_in_transaction_session_timeout', '{ABANDONED_SECONDS}s', true)"
)
_TAKE_TURN: Final = f"{_BOUND_WAITS}, pg_advisory_xact_lock({_WRITERS_KEY})"
# A server that is gone without a word is noticed after seconds, not after the kernel's quarter of an hour.
_POSTGRES_CONNECT: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "emmetd",
}


@dataclass(frozen=True)
class PoolSize:
    """Connections of one process: `kept` stay open, `more` are opened beside them while they are needed."""

    kept: int
    more: int

    @classmethod
    def of(cls, most: int) -> PoolSize:
        """`most` in all."""
        kept = min(most, _KEPT)
        return cls(kept, most - kept)


class Database:
    """The one way to SQL. `writing()` is a transaction alone among writers; `reading()` is a snapshot.

    Beyond its pool a thread waits for a connection, POOL_WAIT_SECONDS at most.
    """

    on_change: Callable[[Collection[str]], None] | None = None
    """Called after a commit with the ids of the batches that `note_change` named; it shall not wait."""

    def __init__(self, url: str, pool: PoolSize | None = None) -> None:
        self.url = url
        self.engine = _engine(url, pool or PoolSize.of(DEFAULT_CONNECTIONS))
        writing, reading = _SQLITE_OPTIONS if self.is_sqlite else _POSTGRES_OPTIONS
        self._writing = sessionmaker(self.engine.execution_options(**writing), expire_on_commit=False)
        self._reading = sessionmaker(self.engine.execution_options(**reading), expire_on_commit=False)
        self._writer = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Commits when the block ends, rolls back when it raises. One writer at a time: keep it short.

        It sees everything that was committed before its turn came.
        """
        with self._alone_here(), self._writing.begin() as session:
            self.take_turn(session.connection())
            yield session
        self._tell(session)

    @contextmanager
    def updating(self) -> Iterator[Session]:
        """`writing()` for one row, whose UPDATE says itself when it holds: it waits for writers of that row alone.

        Nothing that it has read may decide what it writes. On SQLite writers take turns whatever they write.
        """
        with self._alone_here(), self._writing.begin() as session:
            if not self.is_sqlite:
                session.connection().exec_driver_sql(_BOUND_WAITS)
            yield session
        self._tell(session)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._reading() as session:
            yield session

    def take_turn(self, connection: Connection) -> None:
        """Wait until no other transaction writes. SQLite's transactions have done so when they began."""
        if not self.is_sqlite:
            connection.exec_driver_sql(_TAKE_TURN)

    def close(self) -> None:
        self.engine.dispose()

    def _tell(self, session: Session) -> None:
        changed = session.info.get(_CHANGED)
        if changed and self.on_change is not None:
            self.on_change(changed)

    @contextmanager
    def _alone_here(self) -> Iterator[None]:
        """SQLite's writers sleep and look again, longer each time: those of one process had better wait for a lock."""
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=WAIT_SECONDS):
            raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
        try:
            yield
        finally:
            self._writer.release()


def note_change(session: Session, batch_id: str) -> None:
    """Once this transaction has committed, whoever follows the batch is told."""
    session.info.setdefault(_CHANGED, set()).add(batch_id)


def _engine(url: str, pool: PoolSize) -> Engine:
    parsed = make_url(url)
    sizes = {"pool_size": pool.kept, "max_overflow": pool.more, "pool_timeout": POOL_WAIT_SECONDS}
    if parsed.get_backend_name() != "sqlite":
        connect = {name: value for name, value in _POSTGRES_CONNECT.items() if name not in parsed.query}
        engine = create_engine(parsed, connect_args=connect, pool_pre_ping=True, hide_parameters=True, **sizes)
        event.listen(engine, "handle_error", _tell_no_rows)
        return engine
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": WAIT_SECONDS}, hide_parameters=True, **sizes)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver's own implicit BEGIN is deferred; with it off, the begin event below decides.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: what was committed before a 202 is on the disk even if the power fails.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READ_ONLY, False)
        # A deferred transaction that turns to writing fails at once if another wrote since; IMMEDIATE waits instead.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _tell_no_rows(context: ExceptionContext) -> None:
    """PostgreSQL quotes the row that it refuses below what it says; errors are logged, and rows hold people's texts."""
    driver, ours = context.original_exception, context.sqlalchemy_exception
    said = getattr(getattr(driver, "diag", None), "message_primary", None)
    if said is None:  # it is not the server's
        return
    whole, driver.args = str(driver), (said,)
    if ours is not None:
        ours.args = (str(ours.args[0]).replace(whole, said), *ours.args[1:])


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to a schema, the newest one. Safe to run again, and beside running processes."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, revision)


def schema_is_current(database: Database) -> bool:
    """Whether `database` has the newest schema that this release knows."""
    with database.reading() as session:
        found = MigrationContext.configure(session.connection()).get_current_heads()
    return set(found) == set(ScriptDirectory(str(MIGRATIONS)).get_heads())
