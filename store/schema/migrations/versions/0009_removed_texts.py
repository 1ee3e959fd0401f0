"""texts of facts that retention removed, out of events too"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_REMOVED = "[removed]"


def upgrade() -> None:
    connection = op.get_bind()
    ended = connection.execute(sa.text("SELECT id, error FROM batches WHERE error IS NOT NULL")).all()
    for batch_id, error in ended:
        if (_value(error) or {}).get("detail") != _REMOVED:
            continue
        read = sa.text("SELECT id, data FROM events WHERE batch_id = :batch_id")
        for event_id, kept in connection.execute(read, {"batch_id": batch_id}).all():
            data = _value(kept)
            if "error" in data:
                data["error"]["detail"] = _REMOVED
                write = sa.text("UPDATE events SET data = :data WHERE id = :id")
                connection.execute(write, {"id": event_id, "data": json.dumps(data)})


def downgrade() -> None:
    """They are gone."""


def _value(kept: Any) -> Any:
    """SQLite has JSON as text, PostgreSQL gives the value itself."""
    return json.loads(kept) if isinstance(kept, str) else kept
