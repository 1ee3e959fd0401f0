"""the parent that a caller expects, and the one that a batch is being carried over to"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.add_column(sa.Column("if_match", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("carried_to", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_column("carried_to")
        batch_op.drop_column("if_match")
