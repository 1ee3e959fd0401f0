"""evaluations fact by fact and safe to send twice, downstream results, and guards of aliases"""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEYED = ("evaluations", "statistics")
_ROWS_AT_ONCE = 500
_BEFORE = sa.table("evaluations", sa.column("id", sa.String), sa.column("facts", sa.JSON), sa.column("rows", sa.JSON))
_FACTS = sa.table(
    "evaluation_facts",
    sa.column("evaluation_id", sa.String),
    sa.column("number", sa.Integer),
    sa.column("fact", sa.JSON),
    sa.column("place", sa.JSON(none_as_null=True)),
    sa.column("values", sa.JSON(none_as_null=True)),
    sa.column("readings", sa.JSON(none_as_null=True)),
)


def upgrade() -> None:
    for table in _KEYED:
        op.add_column(table, sa.Column("idempotency_key", sa.String(length=255), nullable=True))
        op.add_column(table, sa.Column("body_sha256", sa.String(length=64), nullable=True))
        op.create_index(f"uq_{table}_idempotency", table, ["caller", "idempotency_key"], unique=True)
    op.add_column("evaluations", sa.Column("others", sa.JSON(), nullable=True))
    op.add_column("evaluations", sa.Column("judge", sa.JSON(), nullable=True))
    op.add_column("aliases", sa.Column("guard", sa.JSON(), nullable=True))
    op.create_table(
        "evaluation_facts",
        sa.Column("evaluation_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("fact", sa.JSON(), nullable=False),
        sa.Column("place", sa.JSON(), nullable=True),
        sa.Column("values", sa.JSON(), nullable=True),
        sa.Column("readings", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_evaluation_facts_evaluation_id_evaluations"
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "number", name="pk_evaluation_facts"),
    )
    op.create_table(
        "downstream_results",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("seq", _BIG_ID, nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("harness", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("caller", sa.String(length=64), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_downstream_results_model_models"),
        sa.PrimaryKeyConstraint("id", name="pk_downstream_results"),
        sa.UniqueConstraint("seq", name="uq_downstream_results_seq"),
    )
    op.create_index("ix_downstream_results_version", "downstream_results", ["model", "version", "seq"])
    for evaluation in _evaluations():
        moved = _moved(*evaluation)
        for first in range(0, len(moved), _ROWS_AT_ONCE):
            op.get_bind().execute(_FACTS.insert(), moved[first : first + _ROWS_AT_ONCE])
    op.drop_column("evaluations", "rows")
    op.drop_column("evaluations", "facts")


def downgrade() -> None:
    op.add_column("evaluations", sa.Column("facts", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("evaluations", sa.Column("rows", sa.JSON(), nullable=True))
    connection = op.get_bind()
    for evaluation_id in connection.execute(sa.select(_BEFORE.c.id)).scalars().all():
        kept = connection.execute(
            sa.select(_FACTS).where(_FACTS.c.evaluation_id == evaluation_id).order_by(_FACTS.c.number)
        ).all()
        facts = [{**row.fact, **({} if row.place is None else {"place": row.place})} for row in kept]
        rows = [
            {"fact": row.number, **({} if row.place is None else {"place": row.place}), **row.readings}
            for row in kept
            if row.readings is not None
        ]
        write = _BEFORE.update().where(_BEFORE.c.id == evaluation_id)
        connection.execute(write.values(facts=facts, rows=rows if rows and len(rows) == len(kept) else sa.null()))
    op.drop_index("ix_downstream_results_version", table_name="downstream_results")
    op.drop_table("downstream_results")
    op.drop_table("evaluation_facts")
    op.drop_column("aliases", "guard")
    op.drop_column("evaluations", "judge")
    op.drop_column("evaluations", "others")
    for table in reversed(_KEYED):
        op.drop_index(f"uq_{table}_idempotency", table_name=table)
        op.drop_column(table, "body_sha256")
        op.drop_column(table, "idempotency_key")


def _evaluations() -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Id, facts and rows of each, one at a time: a document of either may have megabytes."""
    connection = op.get_bind()
    for evaluation_id in connection.execute(sa.select(_BEFORE.c.id)).scalars().all():
        query = sa.select(_BEFORE.c.facts, _BEFORE.c.rows).where(_BEFORE.c.id == evaluation_id)
        facts, rows = connection.execute(query).one()
        yield evaluation_id, facts or [], rows or []


def _moved(evaluation_id: str, facts: list[Any], rows: list[Any]) -> list[dict[str, Any]]:
    """A row for each fact, with what was read of it where the evaluation had ended."""
    return [
        {
            "evaluation_id": evaluation_id,
            "number": number,
            "fact": {name: value for name, value in fact.items() if name != "place"},
            "place": fact.get("place"),
            **_read(rows[number] if number < len(rows) else None),
        }
        for number, fact in enumerate(facts)
    ]


def _read(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {"values": None, "readings": None}
    readings = {name: found for name, found in row.items() if name not in ("fact", "place")}
    values = {name: _finite(found.get("metrics", {})) for name, found in readings.items() if isinstance(found, dict)}
    return {"values": values, "readings": json.loads(json.dumps(readings), parse_constant=lambda _: None)}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers that are not finite as text: JSON has none, and PostgreSQL takes none."""
    return {
        name: str(value) if isinstance(value, float) and value - value != 0 else value for name, value in values.items()
    }
