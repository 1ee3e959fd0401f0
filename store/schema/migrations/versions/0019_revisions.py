"""the commit of the hub that each model is loaded at"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("revision", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "revision")
