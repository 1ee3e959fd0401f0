"""Alembic's entry: runs migrations over the URL that `store.schema.database.migrate` was given."""

from __future__ import annotations

import os

from alembic import context

from store.schema.base import Base
from store.schema.database import Database

url = context.config.attributes.get("url") or os.environ["EMMETD_DATABASE_URL"]
database = Database(url)
try:
    with database.engine.connect() as connection:
        # Alembic takes SQLite to commit after each statement on tables, and would end the turn with every revision:
        # another process that waits would then run the next one, too. `Database` begins transactions that hold for
        # those as well.
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=database.is_sqlite,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            database.take_turn(connection)
            context.run_migrations()
finally:
    database.close()
