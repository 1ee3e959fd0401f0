"""An evaluation's row as clients see it."""

from __future__ import annotations

from typing import Any

from api_schemas.edits import EditError, Progress
from api_schemas.evaluations import EvaluationJob, EvaluationSummary
from api_schemas.metrics import BatchWarning
from api_schemas.references import version_name
from editing.metrics import METRICS
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
        "warnings": _warnings(row),
        "error": None if row.error is None else EditError.model_validate(row.error),
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }


def _warnings(row: EvaluationRow) -> list[BatchWarning]:
    """One for each metric that was asked for and that nothing could be measured for."""
    measured = (row.metrics or {}).get(f"{row.model}@{version_name(row.version)}", {})
    return [
        BatchWarning(code="not_measured", detail=f"{name} was measured on no fact (n is 0): {_lacking(name)}", facts=[])
        for name in row.requested_metrics
        if name in measured and measured[name]["n"] == 0
    ]


def _lacking(name: str) -> str:
    metric = METRICS.get(name)
    if metric is not None and metric.in_conversation:
        return "the model has no chat template, or no prompt fits into it; send a model that was made for conversation"
    if metric is not None and metric.needs is not None:
        return f"no fact has {metric.needs.words}"
    return "nothing was there to measure it on"
