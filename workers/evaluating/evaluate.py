"""The `evaluate` task: measure a version, and those to compare it with, on given facts, portion by portion."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from api_schemas.facts import Fact
from api_schemas.references import version_name
from editing.errors import EditInterrupted, FactError
from editing.metrics import METRICS
from editing.metrics.evaluation import measurements, with_parts
from editing.model.projection import Matrices
from editing.readings.observations import FactReading, Observations, Reading
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
SEVERAL_TEXTS: Final = 8
"""About so many are written for each fact by metrics that ask in several wordings, or several questions."""
_DONE: Final = "facts"
_PROMPTED: Final = "prompted"
_TEXTS: Final = "texts"
"""In the task's payload: facts that were measured; whether GE's texts begin with prompts, and how many were made."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured: `versions` by number, on so many `facts`, by `metrics` made of facts or of text."""

    evaluation: str
    versions: list[int]
    facts: int
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
    def reads(self) -> frozenset[Reading]:
        """Of facts."""
        return frozenset[Reading]().union(*(METRICS[name].reads for name in self.of_facts))


def evaluate(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    """Go on where the task was left, and end the evaluation. What is measured is kept, whatever interrupts it."""
    place = Place(context, task, lease)
    try:
        place.give_way()
        plan, of_text = _measure(context, task, place)
    except EditInterrupted:
        place.flush()
        raise
    place.flush()
    with context.database.reading() as session:  # what was measured does not change any more
        kept = evaluations.values(session, plan.evaluation)
    metrics: dict[str, Any] = {}
    judged: dict[str, Any] = {}
    for number in plan.versions:
        name = f"{context.name}@{version_name(number)}"
        found = measurements(plan.metrics, [values[name] for values in kept], prompted=_is_prompted(place))
        found |= {metric: METRICS[metric].overall(of_text[number]) for metric in plan.of_text}
        metrics[name] = {metric: found[metric].model_dump() for metric in plan.metrics}
        if plan.judge is not None:
            judged[name] = summary([values[name].get(JUDGED) for values in kept])
    with context.database.writing() as session:
        tasks.complete(session, task.id, task.token)
        evaluations.finish(_row(session, task), metrics=metrics, judged=judged)


def _measure(context: WorkerContext, task: TaskRow, place: Place) -> tuple[Plan, dict[int, Observations]]:
    """All that is not measured yet; of the text, what was read by each version."""
    with context.database.writing() as session:
        tasks.renew(session, task.id, task.token, context.settings.lease_seconds)  # it may just have been cancelled
        row = _row(session, task)
        row.state = "running"
        plan = _plan(row)
        done = evaluations.measured(session, row.id, int(place.kept.get(_DONE, 0)))
    if Reading.TEXT in plan.reads and _PROMPTED not in place.kept:
        _count_texts(context, place, plan, done)
    matrices = {number: context.matrices.get(number) for number in plan.versions}
    with ExitStack() as stack:
        judge = None if plan.judge is None else stack.enter_context(closing(Judge(context.settings, plan.judge)))
        _measure_facts(context, place, plan, matrices, done, judge)
    return plan, measure_held_out(context, place, plan.evaluation, matrices) if plan.of_text else {}


def _measure_facts(
    context: WorkerContext, place: Place, plan: Plan, matrices: Mapping[int, Matrices], done: int, judge: Judge | None
) -> None:
    """From fact number `done` on, each portion by all versions."""
    pace = Pace(_least(plan, place))
    began, first = time.monotonic(), done
    while done < plan.facts:
        size = min(place.cut(pace.size), plan.facts - done)
        with place.portion() as patience:
            with context.database.reading() as session:
                facts = [
                    Fact.model_validate(one) for one in evaluations.facts(session, plan.evaluation, done, done + size)
                ]
            measured = _portion(context, plan, place, matrices, done, facts, patience, judge)
        pace.took(size, patience.seconds, place.aim)
        done += size
        place.kept[_DONE] = done
        if _is_prompted(place):
            place.kept[_TEXTS] += sum(len(fact.generation_prompts) for fact in facts)
        left = (time.monotonic() - began) / (done - first) * (plan.facts - done)
        place.keep(partial(_write, plan, measured, done, round(left, 1)))


def _least(plan: Plan, place: Place) -> int:
    """How few facts a portion has at least."""
    spoken = plan.reads & (SPOKEN | {Reading.TEXT})
    if not spoken:
        return 1
    has_one_text = len(spoken) == 1 and spoken <= {Reading.GREEDY, Reading.TEXT} and not _is_prompted(place)
    return LEAST_SPOKEN if has_one_text else LEAST_SPOKEN // SEVERAL_TEXTS


def _write(plan: Plan, measured: Sequence[MeasuredFact], done: int, left: float, session: Session) -> None:
    evaluations.keep(session, plan.evaluation, measured)
    row = lifecycle.get(session, EVALUATION, plan.evaluation)
    lifecycle.set_progress(row, "facts", done, plan.facts, left)


def _portion(
    context: WorkerContext,
    plan: Plan,
    place: Place,
    matrices: Mapping[int, Matrices],
    first: int,
    facts: Sequence[Fact],
    patience: Patience,
    judge: Judge | None,
) -> list[MeasuredFact]:
    """`facts`, the first of which has the number `first` among all."""
    prompted = _is_prompted(place)
    found = [MeasuredFact(first + number, {}, {}) for number in range(len(facts))]
    for version in plan.versions:
        name = f"{context.name}@{version_name(version)}"
        with _numbered_from(first):
            evaluation = context.measuring.evaluate(
                matrices[version],
                facts,
                plan.of_facts,
                patience,
                seed=int(place.kept[_TEXTS]) if prompted else first,  # each of GE's texts has a seed of its own
                prompted=prompted,
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


def _count_texts(context: WorkerContext, place: Place, plan: Plan, done: int) -> None:
    """Keep whether GE's texts begin with generation prompts, and how many belong to the first `done` facts.

    That depends on all facts, which are looked at once, unparsed.
    """
    with context.database.reading() as session:
        texts = [len(fact.get("generation_prompts") or ()) for fact in evaluations.facts(session, plan.evaluation)]
    place.kept |= {_PROMPTED: any(texts), _TEXTS: sum(texts[:done])}


def _is_prompted(place: Place) -> bool:
    return bool(place.kept.get(_PROMPTED, False))


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


def _plan(row: EvaluationRow) -> Plan:
    return Plan(row.id, evaluations.versions(row), row.n_facts, list(row.requested_metrics), row.judge)
