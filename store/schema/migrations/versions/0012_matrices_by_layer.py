"""each edited matrix a blob of its own, and what a version added"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("matrix_blobs", sa.JSON(), nullable=True))
    op.add_column("versions", sa.Column("delta_bytes", sa.BigInteger(), nullable=True))
    op.add_column("versions", sa.Column("matrix_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("versions", "matrix_bytes")
    op.drop_column("versions", "delta_bytes")
    op.drop_column("versions", "matrix_blobs")
