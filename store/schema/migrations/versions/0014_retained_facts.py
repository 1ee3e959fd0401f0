"""what became of earlier facts, budgets of lines, and evaluations of a lineage's own facts"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("budget", sa.JSON(), nullable=True))
    op.add_column("versions", sa.Column("facts_in_force", sa.Integer(), nullable=True))
    op.add_column("evaluations", sa.Column("facts_of", sa.Integer(), nullable=True))
    op.add_column("evaluations", sa.Column("sample", sa.Integer(), nullable=True))
    op.add_column("evaluations", sa.Column("seed", sa.Integer(), nullable=True))
    op.create_table(
        "fact_readings",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_fact_readings_model_models"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_fact_readings_batch_id_batches"),
        sa.PrimaryKeyConstraint("model", "version", "batch_id", "number", name="pk_fact_readings"),
    )
    op.create_index("ix_fact_readings_batch_id", "fact_readings", ["batch_id"])


def downgrade() -> None:
    op.drop_index("ix_fact_readings_batch_id", table_name="fact_readings")
    op.drop_table("fact_readings")
    op.drop_column("evaluations", "seed")
    op.drop_column("evaluations", "sample")
    op.drop_column("evaluations", "facts_of")
    op.drop_column("versions", "facts_in_force")
    op.drop_column("batches", "budget")
