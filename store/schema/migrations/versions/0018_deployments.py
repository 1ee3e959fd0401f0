"""deployments to engines elsewhere"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _moment(name: str, nullable: bool) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("seq", _BIG_ID, nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("target", sa.String(length=300), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("desired", sa.Integer(), nullable=True),
        sa.Column("actual", sa.Integer(), nullable=True),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("rejected", sa.Integer(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("previous_path", sa.Text(), nullable=True),
        _moment("behind_since", True),
        sa.Column("last_check", sa.JSON(), nullable=True),
        _moment("last_seen_at", True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("next_try_at", False),
        sa.Column("claim", sa.String(length=40), nullable=True),
        _moment("claimed_until", True),
        sa.Column("caller", sa.String(length=64), nullable=False),
        _moment("created_at", False),
        _moment("updated_at", False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_deployments_model_models"),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("seq", name="uq_deployments_seq"),
        sa.UniqueConstraint("target", "name", name="uq_deployments_target"),
    )
    op.create_index("ix_deployments_model", "deployments", ["model"])
    op.create_table(
        "deployment_events",
        sa.Column("id", _BIG_ID, autoincrement=True, nullable=False),
        sa.Column("deployment_id", sa.String(length=40), nullable=False),
        _moment("at", False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("check_result", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_deployment_events_deployment_id_deployments"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deployment_events"),
    )
    op.create_index("ix_deployment_events_of", "deployment_events", ["deployment_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_deployment_events_of", table_name="deployment_events")
    op.drop_table("deployment_events")
    op.drop_index("ix_deployments_model", table_name="deployments")
    op.drop_table("deployments")
