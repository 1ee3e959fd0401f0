"""versions that stand for a whole lineage, and where their facts come from"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("consolidates", sa.Integer(), nullable=True))
    op.add_column("batches", sa.Column("consolidates", sa.Integer(), nullable=True))
    op.add_column("facts", sa.Column("origin", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("facts", "origin")
    op.drop_column("batches", "consolidates")
    op.drop_column("versions", "consolidates")
