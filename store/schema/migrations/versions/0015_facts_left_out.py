"""facts that a batch was accepted without"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("left_out_count", sa.Integer(), nullable=True))
    op.add_column("batches", sa.Column("left_out", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("batches", "left_out")
    op.drop_column("batches", "left_out_count")
