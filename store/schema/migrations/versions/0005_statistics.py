"""statistics made ahead of time"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "statistics",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("layers", sa.JSON(), nullable=True),
        sa.Column("corpus", sa.String(length=64), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_statistics_model_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statistics")),
        sa.UniqueConstraint("seq", name=op.f("uq_statistics_seq")),
    )
    with op.batch_alter_table("statistics", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_statistics_model"), ["model"], unique=False)

    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("statistic_id", sa.String(length=40), nullable=True))
        batch_op.create_foreign_key(op.f("fk_tasks_statistic_id_statistics"), "statistics", ["statistic_id"], ["id"])
        batch_op.create_index(batch_op.f("ix_tasks_statistic_id"), ["statistic_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tasks_statistic_id"))
        batch_op.drop_constraint(op.f("fk_tasks_statistic_id_statistics"), type_="foreignkey")
        batch_op.drop_column("statistic_id")
    with op.batch_alter_table("statistics", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_statistics_model"))
    op.drop_table("statistics")
