"""The table of kinds of jobs is whole: columns, rows, tasks, queues and handlers belong together."""

from __future__ import annotations

from typing import Any

import pytest

from api_schemas.edits import FINAL_STATES
from configuration.redis.keys import queues_for
from store.errors import NotFoundError
from store.schema.base import Base
from store.schema.database import Database
from store.schema.tables import JobRow, SequencedRow, TaskRow
from store.work import evaluations, exports, lifecycle, lines, statistics, tasks
from store.work.kinds import EDIT, KINDS, TASK_KINDS, JobKind, job_ids, kind_of, kind_of_task
from tests.store.conftest import Accept

OF_EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def one_of_each(session: Any, accept: Accept) -> list[JobRow]:
    """Jobs of all kinds that have a task, in the table's order."""
    batch = accept(session)
    lines.advance(session)
    return [
        batch,
        evaluations.create(session, model="tiny", version=0, compare_with=None, metrics=["ES"], facts=[]),
        exports.create(session, model="tiny", version=0, format="peft", max_rank=8),
        statistics.create(session, model="tiny", layers=[1], corpus="self", tokens=1000),
    ]


def test_every_column_of_the_tasks_that_names_a_job_has_a_kind() -> None:
    jobs = {kind.row.__tablename__ for kind in KINDS}
    named = {
        column.name: key.column.table.name
        for column in TaskRow.__table__.columns
        for key in column.foreign_keys
        if key.column.table.name != "models"
    }
    assert named == {kind.task_column: kind.row.__tablename__ for kind in KINDS}
    assert set(named.values()) == jobs


def test_every_class_of_jobs_has_a_kind() -> None:
    classes = {mapper.class_ for mapper in Base.registry.mappers if issubclass(mapper.class_, JobRow)}
    assert classes == {kind.row for kind in KINDS}


def test_every_kind_of_task_is_of_one_kind_of_job_and_waits_where_workers_look() -> None:
    assert len(TASK_KINDS) == sum(len(kind.tasks) for kind in KINDS)
    assert {task.queue("tiny") for task in TASK_KINDS.values()} == set(queues_for("tiny"))


@pytest.mark.parametrize("attribute", ["name", "plural", "row", "task_column", "id_prefix", "not_found", "queue_full"])
def test_kinds_are_told_apart(attribute: str) -> None:
    assert len({getattr(kind, attribute) for kind in KINDS}) == len(KINDS)


@OF_EACH
def test_states_begin_and_end_alike(kind: JobKind[Any]) -> None:
    assert kind.states[0] == "queued"
    assert kind.running_states
    assert {"succeeded", "failed"} <= set(kind.states) & FINAL_STATES
    assert {"queued", *kind.running_states, *(FINAL_STATES & set(kind.states))} == set(kind.states)


@OF_EACH
def test_what_is_not_there_is_called_by_its_name(database: Database, kind: JobKind[Any]) -> None:
    with database.reading() as session, pytest.raises(kind.not_found, match=f"^no {kind.name} 'none'") as refused:
        lifecycle.get(session, kind, "none")
    assert isinstance(refused.value, NotFoundError)


def test_a_job_has_a_task_that_leads_back_to_it(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        for kind, row in zip(KINDS, one_of_each(session, accept), strict=True):
            (task,) = (task for task in tasks.to_enqueue(session) if getattr(task, kind.task_column) == row.id)
            assert (kind_of(row), kind_of_task(task), job_ids(task)) == (kind, kind, {kind.name: row.id})
            assert lifecycle.of_task(session, task) is row
            assert task.queue == TASK_KINDS[task.kind].queue("tiny")
            assert row.id.startswith(f"{kind.id_prefix}_")


def test_whoever_fails_ends_with_its_reason_and_without_tasks(database: Database, accept: Accept) -> None:
    error = {"code": "machine", "title": "The worker failed", "detail": "no room", "facts": []}
    with database.writing() as session:
        rows = one_of_each(session, accept)
        assert [lifecycle.unfinished(session, kind, "tiny") for kind in KINDS] == [1] * len(KINDS)
        for row in rows:
            lifecycle.end_with_error(session, row, error)
            lifecycle.end_with_error(session, row, {**error, "code": "internal"})
            lifecycle.set_progress(row, "late", 1, 2, None)
        assert [(row.state, row.error) for row in rows] == [("failed", error)] * len(rows)
        assert "late" not in {row.progress["stage"] for row in rows}
        assert None not in {row.finished_at for row in rows}
        assert [lifecycle.unfinished(session, kind, "tiny") for kind in KINDS] == [0] * len(KINDS)
        assert tasks.to_enqueue(session) == []


def test_whoever_is_cancelled_ends_as_its_kind_says(database: Database, accept: Accept) -> None:
    error = {"code": "cancelled", "title": "Cancelled", "detail": "cancelled on request", "facts": []}
    with database.writing() as session:
        for row in one_of_each(session, accept):
            lifecycle.end_with_error(session, row, error)
            assert row.state == ("cancelled" if "cancelled" in kind_of(row).states else "failed")


def test_what_is_removed_takes_its_tasks_along(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        rows = [row for row in one_of_each(session, accept) if kind_of(row) is not EDIT]
        for row in rows:
            lifecycle.remove(session, row)
        assert [task.batch_id is None for task in tasks.to_enqueue(session)] == [False]


@OF_EACH
def test_what_is_listed_comes_newest_first(database: Database, accept: Accept, kind: JobKind[Any]) -> None:
    if not issubclass(kind.row, SequencedRow):
        assert str(kind.in_order).endswith(".created_at")
        return
    with database.writing() as session:
        rows = [
            row
            for _ in range(3)
            for row in one_of_each(session, accept)
            if kind_of(row) is kind and isinstance(row, SequencedRow)
        ]
    with database.reading() as session:
        assert [row.id for row in lifecycle.page(session, kind, "tiny", None, 1)] == [rows[2].id, rows[1].id]
        assert [row.id for row in lifecycle.page(session, kind, None, rows[1].seq, 5)] == [rows[0].id]
        assert lifecycle.page(session, kind, None, None, 5, models=["other"]) == []
