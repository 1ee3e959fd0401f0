"""The migrations make exactly the tables that the code describes, and SQLite keeps what it committed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from api_schemas.references import parse_reference
from versions import batches, models
from versions.database import Database, migrate
from versions.tables import Base, ModelRow


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database.url)
    with database.reading() as session:
        assert [row.name for row in models.all_models(session)] == ["tiny"]


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    with database.reading() as session:
        row = session.get(ModelRow, "tiny")
        assert row is not None
        assert row.created_at.tzinfo is UTC
        assert abs((datetime.now(UTC) - row.created_at).total_seconds()) < 60


def test_many_writers_lose_nothing(database: Database) -> None:
    def work() -> None:
        for _ in range(10):
            with database.writing() as session:
                new = batches.NewBatch(parse_reference("tiny"), "emmet", {}, {}, [{}])
                batches.accept(session, new, most_queued=1000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        rows = batches.page(session, "tiny", None, 1000)
        assert [row.seq for row in rows] == list(range(80, 0, -1))
