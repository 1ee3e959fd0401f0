"""Connections and transactions, on SQLite (one file, WAL) and PostgreSQL alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

MIGRATIONS = Path(__file__).parent / "migrations"
SQLITE_BUSY_SECONDS = 30
_READ_ONLY = "emmetd_read_only"


class Database:
    """The one way to SQL. `writing()` is a transaction that takes its locks first; `reading()` is a snapshot."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._writing = sessionmaker(self.engine, expire_on_commit=False)
        self._reading = sessionmaker(self.engine.execution_options(**{_READ_ONLY: True}), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Commits when the block ends, rolls back when it raises."""
        with self._writing.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._reading() as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=20)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": SQLITE_BUSY_SECONDS})

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


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema. Safe to run again, and beside running processes."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "head")


def schema_is_current(database: Database) -> bool:
    """Whether `database` has the newest schema that this release knows."""
    with database.reading() as session:
        found = MigrationContext.configure(session.connection()).get_current_heads()
    return set(found) == set(ScriptDirectory(str(MIGRATIONS)).get_heads())
