"""the special tokens of each model's tokenizer, which its chat template writes"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("special_tokens", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "special_tokens")
