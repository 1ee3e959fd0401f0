"""An evaluation's row as clients see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api_schemas.edits import EditError, Progress
from api_schemas.evaluations import EvaluationJob, EvaluationSummary
from api_schemas.metrics import BatchWarning
from api_schemas.references import version_name
from editing.metrics import METRICS
from store.schema.tables import EvaluationRow
from store.work import evaluations


def evaluation_summary(row: EvaluationRow) -> EvaluationSummary:
    return EvaluationSummary.model_validate(_summary(row))


def evaluation_job(row: EvaluationRow) -> EvaluationJob:
    """Without rows of facts."""
    return EvaluationJob.model_validate(_summary(row))


@dataclass(frozen=True)
class WrittenJob:
    """An `EvaluationJob` with a page of rows as it is answered: JSON, the rows in it as they are kept."""

    id: str
    finished_at: datetime | None
    body: bytes

    @staticmethod
    def of(job: EvaluationJob, rows: Sequence[str] = (), next_cursor: str | None = None) -> WrittenJob:
        seen = job.model_copy(update={"next_cursor": next_cursor})
        head = seen.model_dump_json(exclude={"facts"}).encode()
        return WrittenJob(job.id, job.finished_at, b'%s,"facts":[%s]}' % (head[:-1], ",".join(rows).encode()))


def _summary(row: EvaluationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "state": row.state,
        "model": named(row, row.version),
        "compare_with": None if row.compare_with is None else named(row, row.compare_with),
        "versions": [named(row, number) for number in evaluations.versions(row)],
        "requested_metrics": row.requested_metrics,
        "n_facts": row.n_facts,
        "facts_of": None if row.facts_of is None else version_name(row.facts_of),
        "sample": row.sample,
        "seed": row.seed,
        "progress": Progress.model_validate(row.progress),
        "metrics": row.metrics,
        "judge": row.judge,
        "warnings": _warnings(row),
        "error": None if row.error is None else EditError.model_validate(row.error),
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }


def named(row: EvaluationRow, number: int) -> str:
    """NAME@vN of a version of the evaluation's model."""
    return f"{row.model}@{version_name(number)}"


def _warnings(row: EvaluationRow) -> list[BatchWarning]:
    """One for each metric that was asked for and that nothing could be measured for."""
    measured = (row.metrics or {}).get(named(row, row.version), {})
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
