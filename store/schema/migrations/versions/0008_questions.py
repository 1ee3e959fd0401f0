"""what a fact asks, to be looked for"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without the copy of the whole table that `batch_alter_table` makes on SQLite.
    op.add_column("facts", sa.Column("question", sa.String(length=32), server_default="", nullable=False))
    connection = op.get_bind()
    read = sa.text("SELECT number, fact FROM facts WHERE batch_id = :batch_id")
    write = sa.text("UPDATE facts SET question = :question WHERE batch_id = :batch_id AND number = :number")
    for (batch_id,) in connection.execute(sa.text("SELECT DISTINCT batch_id FROM facts")).all():
        rows = [
            {"batch_id": batch_id, "number": number, "question": _question(fact)}
            for number, fact in connection.execute(read, {"batch_id": batch_id})
        ]
        connection.execute(write, rows)
    op.create_index("ix_facts_question", "facts", ["question"])


def downgrade() -> None:
    op.drop_index("ix_facts_question", table_name="facts")
    op.drop_column("facts", "question")


def _question(kept: object) -> str:
    """As `store.lineage.questions.question_of` when this was written."""
    fact = json.loads(kept) if isinstance(kept, str) else kept
    assert isinstance(fact, dict)
    prompt, subject = fact["prompt"].strip(), " ".join(fact["subject"].split())
    return hashlib.sha256(f"{prompt}\0{subject}".encode()).hexdigest()[:32]
