"""The `evaluate` task: measure a version, and the one to compare it with, on given facts."""

from __future__ import annotations

from typing import Any

from api_schemas.facts import Fact
from api_schemas.references import version_name
from editing.metrics.evaluation import Evaluation
from editing.readings.observations import PromptReading
from store.schema.tables import TaskRow
from store.work import evaluations, lifecycle, tasks
from store.work.kinds import EVALUATION
from workers.context import WorkerContext
from workers.tasks.lease import Lease
from workers.tasks.progress import TaskProgress


def evaluate(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.evaluation_id is not None
    with context.database.writing() as session:
        tasks.renew(session, task.id, task.token, context.settings.lease_seconds)  # it may just have been cancelled
        row = lifecycle.get(session, EVALUATION, task.evaluation_id)
        row.state = "running"
        numbers = [row.version] if row.compare_with in (None, row.version) else [row.version, row.compare_with]
        places = [fact.get("place") for fact in row.facts]
        facts = [Fact.model_validate({name: one for name, one in f.items() if name != "place"}) for f in row.facts]
        wanted = list(row.requested_metrics)
    report = TaskProgress(context.database, row.id, of=EVALUATION)
    metrics: dict[str, Any] = {}
    rows: list[dict[str, Any]] = [
        {"fact": number} if place is None else {"fact": number, "place": place} for number, place in enumerate(places)
    ]
    for number in numbers:
        name = f"{context.name}@{version_name(number)}"
        matrices = context.matrices.get(number)
        evaluation = context.measuring.evaluate(matrices, facts, wanted, lease.should_stop, report)
        metrics[name] = {metric: value.model_dump() for metric, value in evaluation.metrics.items()}
        for row_of_fact, reading in zip(rows, _readings(evaluation), strict=True):
            row_of_fact[name] = reading
    with context.database.writing() as session:
        tasks.complete(session, task.id, task.token)
        row = lifecycle.get(session, EVALUATION, task.evaluation_id)
        evaluations.finish(row, metrics=metrics, rows=rows)


def _readings(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For each fact its own value of each metric, and what they were computed from: log-probabilities, and texts.

    `said` are greedy answers, in the order of the fact's prompts (`chat`: of the wordings); `texts` are those of GE.
    """
    return [
        {
            "metrics": values,
            "prompt": None if fact.prompt is None else _prompt(fact.prompt),
            "paraphrases": [_prompt(reading) for reading in fact.paraphrases],
            "neighbors": [_prompt(reading) for reading in fact.neighbors],
            "portability": [_prompt(reading) for reading in fact.portability],
            "greedy": fact.greedy,
            "said": {
                "paraphrases": fact.greedy_paraphrases,
                "chat": fact.greedy_chat,
                "portability": fact.greedy_portability,
                "locality": [{"now": one.now, "before": one.before} for one in fact.locality],
            },
            "texts": fact.texts,
        }
        for fact, values in zip(evaluation.observations.facts, evaluation.of_facts, strict=True)
    ]


def _prompt(reading: PromptReading) -> dict[str, Any]:
    """`new`, `old`: mean log-probability of a target's tokens, in nats; `said`: the new one is what would be said."""
    return {
        "prompt": reading.prompt,
        "new": reading.new.log_probability,
        "old": None if reading.old is None else reading.old.log_probability,
        "said": reading.new.said,
    }
