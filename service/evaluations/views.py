"""An evaluation's row as clients see it."""

from __future__ import annotations

from typing import Any

from api_schemas.edits import EditError, Progress
from api_schemas.evaluations import EvaluationJob, EvaluationSummary
from api_schemas.references import version_name
from service.http.cursors import write_cursor
from store.schema.tables import EvaluationRow


def evaluation_summary(row: EvaluationRow) -> EvaluationSummary:
    return EvaluationSummary.model_validate(_summary(row))


def evaluation_job(row: EvaluationRow, first: int, limit: int) -> EvaluationJob:
    """With `limit` of its per-fact rows from number `first` on."""
    rows = row.rows or []
    return EvaluationJob.model_validate(
        {
            **_summary(row),
            "facts": rows[first : first + limit],
            "next_cursor": write_cursor("rows", first + limit) if first + limit < len(rows) else None,
        }
    )


def _summary(row: EvaluationRow) -> dict[str, Any]:
    compared = None if row.compare_with is None else f"{row.model}@{version_name(row.compare_with)}"
    return {
        "id": row.id,
        "state": row.state,
        "model": f"{row.model}@{version_name(row.version)}",
        "compare_with": compared,
        "requested_metrics": row.requested_metrics,
        "n_facts": row.n_facts,
        "facts_of": None if row.facts_of is None else version_name(row.facts_of),
        "sample": row.sample,
        "seed": row.seed,
        "progress": Progress.model_validate(row.progress),
        "metrics": row.metrics,
        "error": None if row.error is None else EditError.model_validate(row.error),
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }
