"""evaluations in their order, and whose they and exports are"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table in ("evaluations", "exports"):
        op.add_column(table, sa.Column("caller", sa.String(length=64), server_default="", nullable=False))
        op.create_index(f"ix_{table}_caller", table, ["caller", "created_at"])
    op.add_column("evaluations", sa.Column("seq", _BIG_ID, nullable=True))
    connection = op.get_bind()
    ids = connection.execute(sa.text("SELECT id FROM evaluations ORDER BY created_at, id")).scalars().all()
    for seq, evaluation_id in enumerate(ids, start=1):
        write = sa.text("UPDATE evaluations SET seq = :seq WHERE id = :id")
        connection.execute(write, {"seq": seq, "id": evaluation_id})
    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.alter_column("seq", existing_type=_BIG_ID, nullable=False)
        batch_op.create_unique_constraint(batch_op.f("uq_evaluations_seq"), ["seq"])


def downgrade() -> None:
    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_evaluations_seq"), type_="unique")
        batch_op.drop_column("seq")
    for table in ("exports", "evaluations"):
        op.drop_index(f"ix_{table}_caller", table_name=table)
        op.drop_column(table, "caller")
