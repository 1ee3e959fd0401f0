"""The `evaluate` task: measure a version, and those to compare it with, on given facts, portion by portion."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from api_schemas.facts import Fact
from api_schemas.references import version_name
from editing.errors import FactError
from editing.metrics import METRICS
from editing.metrics.evaluation import measurements, with_parts
from editing.model.projection import Matrices
from editing.readings.observations import FactReading, Reading
from editing.readings.spoken import SPOKEN
from store.schema.tables import EvaluationRow, TaskRow
from store.work import evaluations, lifecycle, tasks
from store.work.evaluations import MeasuredFact
from store.work.kinds import EVALUATION
from workers.context import WorkerContext
from workers.evaluating.held_out import measure_held_out
from workers.evaluating.judge import JUDGED, Judge, summary
from workers.evaluating.place import Place
from workers.evaluating.portions import Pace, Patience
from workers.evaluating.readings import shown_reading
from workers.tasks.lease import Lease

LEAST_SPOKEN: Final = 16
"""A decode step costs nearly the same for one row as for so many."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured: `versions` by number, on `facts`, by `metrics` that are made of facts or of text."""

    evaluation: str
    versions: list[int]
    facts: list[Fact]
    metrics: list[str]
    judge: dict[str, Any] | None = None

    @property
    def of_facts(self) -> list[str]:
        """Metrics whose values of single facts are kept."""
        return [name for name in with_parts(self.metrics) if METRICS[name].of_fact is not None]

    @property
    def of_text(self) -> list[str]:
        return [name for name in self.metrics if Reading.HELD_OUT in METRICS[name].reads]

    @property
    def prompted(self) -> bool:
        """Whether GE's texts begin with generation prompts."""
        return any(fact.generation_prompts for fact in self.facts)

    def texts_before(self, number: int) -> int:
        """How many of GE's texts are those of facts before `number`: each has a seed of its own."""
        return sum(len(fact.generation_prompts) for fact in self.facts[:number]) if self.prompted else number


def evaluate(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    """Go on where the task was left, and end the evaluation. What is measured is kept as it comes."""
    place = Place(context, task)
    with context.database.writing() as session:
        tasks.renew(session, task.id, task.token, context.settings.lease_seconds)  # it may just have been cancelled
        row = _row(session, task)
        row.state = "running"
        plan = _plan(session, row)
        done = evaluations.measured(session, row.id)
    matrices = {number: context.matrices.get(number) for number in plan.versions}
    with ExitStack() as stack:
        judge = None if plan.judge is None else stack.enter_context(closing(Judge(context.settings, plan.judge)))
        _measure_facts(context, place, lease, plan, matrices, done, judge)
    of_text = measure_held_out(context, place, lease, plan.evaluation, matrices) if plan.of_text else {}
    with context.database.writing() as session:
        tasks.complete(session, task.id, task.token)
        kept = evaluations.values(session, plan.evaluation)
        metrics: dict[str, Any] = {}
        judged: dict[str, Any] = {}
        for number in plan.versions:
            name = f"{context.name}@{version_name(number)}"
            found = measurements(plan.metrics, plan.facts, [values[name] for values in kept])
            found |= {metric: METRICS[metric].overall(of_text[number]) for metric in plan.of_text}
            metrics[name] = {metric: found[metric].model_dump() for metric in plan.metrics}
            if plan.judge is not None:
                judged[name] = summary([values[name].get(JUDGED) for values in kept])
        evaluations.finish(_row(session, task), metrics=metrics, judged=judged)


def _measure_facts(
    context: WorkerContext,
    place: Place,
    lease: Lease,
    plan: Plan,
    matrices: Mapping[int, Matrices],
    done: int,
    judge: Judge | None,
) -> None:
    """From fact number `done` on, each portion by all versions."""
    reads = frozenset[Reading]().union(*(METRICS[name].reads for name in plan.of_facts))
    pace = Pace(least=LEAST_SPOKEN if reads & (SPOKEN | {Reading.TEXT}) else 1)
    began, first = time.monotonic(), done
    while done < len(plan.facts):
        size = min(pace.size, len(plan.facts) - done)
        with place.portion(lease) as patience:
            measured = _portion(context, plan, matrices, range(done, done + size), patience, judge)
        pace.took(size, patience.seconds)
        done += size
        left = (time.monotonic() - began) / (done - first) * (len(plan.facts) - done)
        with place.writing() as session:
            evaluations.keep(session, plan.evaluation, measured)
            lifecycle.set_progress(
                lifecycle.get(session, EVALUATION, plan.evaluation), "facts", done, len(plan.facts), round(left, 1)
            )


def _portion(
    context: WorkerContext,
    plan: Plan,
    matrices: Mapping[int, Matrices],
    numbers: range,
    patience: Patience,
    judge: Judge | None,
) -> list[MeasuredFact]:
    found = [MeasuredFact(number, {}, {}) for number in numbers]
    for version in plan.versions:
        name = f"{context.name}@{version_name(version)}"
        with _numbered_from(numbers.start):
            evaluation = context.measuring.evaluate(
                matrices[version],
                plan.facts[numbers.start : numbers.stop],
                plan.of_facts,
                patience,
                seed=plan.texts_before(numbers.start),
                prompted=plan.prompted,
            )
        for one, fact, values in zip(found, evaluation.observations.facts, evaluation.of_facts, strict=True):
            one.values[name] = values
            one.readings[name] = shown_reading(fact, values, plan.metrics)
        if judge is not None:
            questions = [(fact.fact, _said(fact)) for fact in evaluation.observations.facts]
            for one, verdict in zip(found, judge.verdicts(questions, patience), strict=True):
                one.values[name] = {**one.values[name], JUDGED: verdict.value}
                one.readings[name][JUDGED] = verdict.shown()
    return found


def _said(fact: FactReading) -> str | None:
    """What is judged: the first answer in conversation, else what follows the prompt."""
    return fact.greedy_chat[0] if fact.greedy_chat else fact.greedy


@contextmanager
def _numbered_from(first: int) -> Iterator[None]:
    """Errors about the portion's facts name their numbers among all."""
    try:
        yield
    except FactError as error:
        raise type(error)(first + error.index, error.field, error.message) from error


def _row(session: Session, task: TaskRow) -> EvaluationRow:
    assert task.evaluation_id is not None
    return lifecycle.get(session, EVALUATION, task.evaluation_id)


def _plan(session: Session, row: EvaluationRow) -> Plan:
    facts = [Fact.model_validate(fact) for fact in evaluations.facts(session, row.id)]
    return Plan(row.id, evaluations.versions(row), facts, list(row.requested_metrics), row.judge)
