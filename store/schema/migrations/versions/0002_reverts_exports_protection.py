"""reverts, exports and protected aliases"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("max_rank", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_exports_model_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    with op.batch_alter_table("exports", schema=None) as batch_op:
        batch_op.create_index("ix_exports_of", ["model", "version", "format", "max_rank"], unique=False)

    op.add_column("aliases", sa.Column("protected", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("batches", sa.Column("reverts", sa.JSON(), nullable=True))
    op.add_column("batches", sa.Column("moves_protected", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("export_id", sa.String(length=40), nullable=True))
        batch_op.create_foreign_key(op.f("fk_tasks_export_id_exports"), "exports", ["export_id"], ["id"])
        batch_op.create_index(batch_op.f("ix_tasks_export_id"), ["export_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tasks_export_id"))
        batch_op.drop_constraint(op.f("fk_tasks_export_id_exports"), type_="foreignkey")
        batch_op.drop_column("export_id")
    op.drop_column("batches", "moves_protected")
    op.drop_column("batches", "reverts")
    op.drop_column("aliases", "protected")
    with op.batch_alter_table("exports", schema=None) as batch_op:
        batch_op.drop_index("ix_exports_of")
    op.drop_table("exports")
