"""whose statistics are"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("statistics", sa.Column("caller", sa.String(length=64), server_default="", nullable=False))
    op.create_index("ix_statistics_caller", "statistics", ["caller", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_statistics_caller", table_name="statistics")
    op.drop_column("statistics", "caller")
