"""Alembic's entry: runs migrations over the URL that `store.schema.database.migrate` was given."""

from __future__ import annotations

import os

from alembic import context

from store.schema.base import Base
from store.schema.database import Database

url = context.config.attributes.get("url") or os.environ["EMMETD_DATABASE_URL"]
database = Database(url)
with database.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=database.is_sqlite)
    with context.begin_transaction():
        database.take_turn(connection)
        context.run_migrations()
database.close()
