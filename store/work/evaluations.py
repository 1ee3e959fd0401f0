"""What is an evaluation's own: versions measured on facts, the readings kept portion by portion while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Text, cast, insert, literal, select, update
from sqlalchemy.orm import Session

from store.schema.measurement_tables import EvaluationFactRow
from store.schema.tables import EvaluationRow
from store.work import lifecycle
from store.work.kinds import EVALUATION

_KEEP: Final = update(EvaluationFactRow)


@dataclass(frozen=True)
class MeasuredFact:
    """What was read of one fact, by version (NAME@vN): its own value of each metric, and all that clients see."""

    number: int
    values: dict[str, Mapping[str, float | None]]
    readings: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class KeptFact:
    """A fact as it was sent, and what was read of it, by version; null until it was measured."""

    number: int
    fact: dict[str, Any]
    readings: dict[str, Any] | None


def create(
    session: Session,
    *,
    model: str,
    version: int,
    compare_with: int | None,
    metrics: list[str],
    facts: list[dict[str, Any]],
    others: Sequence[int] = (),
    facts_of: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    judge: dict[str, Any] | None = None,
    caller: str = "",
    idempotency_key: str | None = None,
    body_sha256: str | None = None,
) -> EvaluationRow:
    """A new evaluation and its task. A fact of version `facts_of` has its `place` in the lineage beside its fields."""
    row = lifecycle.create(
        session,
        EVALUATION,
        len(facts),
        model=model,
        version=version,
        compare_with=compare_with,
        others=list(others) or None,
        requested_metrics=list(metrics),
        n_facts=len(facts),
        facts_of=facts_of,
        sample=sample,
        seed=seed,
        judge=judge,
        caller=caller,
        idempotency_key=idempotency_key,
        body_sha256=body_sha256,
    )
    if facts:
        rows = [
            {
                "evaluation_id": row.id,
                "number": number,
                "fact": {name: value for name, value in fact.items() if name != "place"},
                "place": fact.get("place"),
            }
            for number, fact in enumerate(facts)
        ]
        session.execute(insert(EvaluationFactRow), rows)
    return row


def versions(row: EvaluationRow) -> list[int]:
    """Numbers of the versions that are measured, each once: the one asked about first."""
    compared = [] if row.compare_with is None else [row.compare_with]
    return list(dict.fromkeys([row.version, *compared, *(row.others or ())]))


def facts(session: Session, evaluation_id: str, first: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
    """In the caller's order: all of them, or those from number `first` up to `stop`."""
    query = select(EvaluationFactRow.fact).where(
        EvaluationFactRow.evaluation_id == evaluation_id, EvaluationFactRow.number >= first
    )
    if stop is not None:
        query = query.where(EvaluationFactRow.number < stop)
    return list(session.scalars(query.order_by(EvaluationFactRow.number)))


def measured(session: Session, evaluation_id: str, at_least: int = 0) -> int:
    """How many of its facts have been measured: they are so in their order. Those before `at_least` are known to be."""
    query = (
        select(EvaluationFactRow.number)
        .where(
            EvaluationFactRow.evaluation_id == evaluation_id,
            EvaluationFactRow.number >= at_least,
            EvaluationFactRow.values.is_(None),
        )
        .order_by(EvaluationFactRow.number)
        .limit(1)
    )
    first = session.scalar(query)
    return session.get_one(EvaluationRow, evaluation_id).n_facts if first is None else first


def keep(session: Session, evaluation_id: str, portion: Sequence[MeasuredFact]) -> None:
    """Keep what was read of some facts."""
    rows = [
        {
            "evaluation_id": evaluation_id,
            "number": one.number,
            "values": {version: _written(values) for version, values in one.values.items()},
            "readings": _finite(one.readings),
        }
        for one in portion
    ]
    if rows:
        session.execute(_KEEP, rows)


def values(session: Session, evaluation_id: str) -> list[dict[str, dict[str, float | None]]]:
    """By version, each measured fact's own value of each metric, in the facts' order."""
    query = select(EvaluationFactRow.values).where(
        EvaluationFactRow.evaluation_id == evaluation_id, EvaluationFactRow.values.is_not(None)
    )
    return [
        {version: _read(of_version) for version, of_version in (found or {}).items()}
        for found in session.scalars(query.order_by(EvaluationFactRow.number))
    ]


def page(session: Session, evaluation_id: str, first: int, limit: int) -> list[str]:
    """What clients see of measured facts from number `first` on, as JSON; one more than `limit` if there are others.

    Put together of what is kept, unread: pages of thousands of facts are asked for again and again.
    """
    readings, place = (cast(column, Text) for column in (EvaluationFactRow.readings, EvaluationFactRow.place))
    query = (
        select(EvaluationFactRow.number, place, readings)
        .where(
            EvaluationFactRow.evaluation_id == evaluation_id,
            EvaluationFactRow.number >= literal(first, BigInteger),
            EvaluationFactRow.values.is_not(None),
        )
        .order_by(EvaluationFactRow.number)
        .limit(limit + 1)
    )
    return [_joined(number, place, readings) for number, place, readings in session.execute(query)]


def kept(session: Session, evaluation_id: str, numbers: Sequence[int]) -> list[KeptFact]:
    """The facts of these numbers, in their order."""
    query = select(EvaluationFactRow).where(
        EvaluationFactRow.evaluation_id == evaluation_id, EvaluationFactRow.number.in_(numbers)
    )
    found = {row.number: KeptFact(row.number, row.fact, row.readings) for row in session.scalars(query)}
    return [found[number] for number in numbers if number in found]


def _joined(number: int, place: str | None, readings: str | None) -> str:
    fields = [f'"fact":{number}', *([] if place is None else [f'"place":{place}'])]
    inner = "" if readings is None else readings.strip()[1:-1]
    return "{" + ",".join([*fields, *([inner] if inner else [])]) + "}"


def finish(row: EvaluationRow, *, metrics: dict[str, Any] | None, judged: dict[str, Any] | None = None) -> None:
    """`judged` is what came of the judge's verdicts, by version, where one was asked."""
    row.metrics = metrics
    if judged and row.judge is not None:
        row.judge = {**row.judge, "versions": judged}
    lifecycle.succeed(row, row.n_facts)


def _written(values: Mapping[str, float | None]) -> dict[str, Any]:
    """Numbers that are not finite as text: JSON has none, and PostgreSQL takes none."""
    return {
        name: value if value is None or math.isfinite(value) else str(float(value)) for name, value in values.items()
    }


def _read(values: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    """`value` with null in place of numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
