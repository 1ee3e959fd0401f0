"""What is an evaluation's own: a version, and the one to compare it with, measured on facts."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from store.schema.tables import EvaluationRow
from store.work import lifecycle
from store.work.kinds import EVALUATION


def create(
    session: Session,
    *,
    model: str,
    version: int,
    compare_with: int | None,
    metrics: list[str],
    facts: list[dict[str, Any]],
    facts_of: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    caller: str = "",
) -> EvaluationRow:
    """A new evaluation and its task. A fact of version `facts_of` has its `place` in the lineage beside its fields."""
    return lifecycle.create(
        session,
        EVALUATION,
        len(facts),
        model=model,
        version=version,
        compare_with=compare_with,
        requested_metrics=list(metrics),
        facts=facts,
        n_facts=len(facts),
        facts_of=facts_of,
        sample=sample,
        seed=seed,
        caller=caller,
    )


def finish(row: EvaluationRow, *, metrics: dict[str, Any] | None, rows: list[Any] | None = None) -> None:
    row.metrics, row.rows = metrics, rows
    lifecycle.succeed(row, row.n_facts)
