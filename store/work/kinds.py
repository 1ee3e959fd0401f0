"""The kinds of jobs, one row each: its table, its tasks and their queues, its states, what it needs, what it is called.

Whatever goes over all kinds reads this table: the life of a job (`store.work.lifecycle`), the outbox, quotas, what
waits, what a version is needed by, logs and traces. A new kind is a row here; its class of rows and its column of
`TaskRow`, with a migration; its NotFoundError and the status of that; its task, with a handler in `workers.jobs`; and
its route, which `service.jobs` does most of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, get_args

from pydantic import BaseModel
from sqlalchemy import ColumnElement, SQLColumnExpression
from sqlalchemy.orm import InstrumentedAttribute

from api_schemas.edits import FINAL_STATES, EditJob
from api_schemas.evaluations import EvaluationJob
from api_schemas.exports import ExportJob
from api_schemas.statistics import StatisticJob
from configuration.redis.keys import control_queue, evaluate_queue, solve_queue, values_queue
from store.errors import (
    BatchNotFoundError,
    EvaluationNotFoundError,
    ExportNotFoundError,
    NotFoundError,
    StatisticNotFoundError,
)
from store.schema.measurement_tables import EvaluationFactRow
from store.schema.tables import (
    BatchRow,
    EvaluationRow,
    ExportRow,
    JobRow,
    SequencedRow,
    StatisticRow,
    StoppableRow,
    TaskRow,
)

Row = TypeVar("Row", bound=JobRow)
Listed = TypeVar("Listed", bound=SequencedRow)
"""Of a kind that is listed."""


@dataclass(frozen=True)
class TaskKind:
    """A kind of task, and the RQ queue of a model that it waits in."""

    name: str
    queue: Callable[[str], str]
    sharded: bool = False
    """Whether a job has several of them, told apart by `TaskRow.shard`."""
    yields: bool = False
    """Whether it is given back when anything else waits: it takes long, and goes on where it was."""


@dataclass(frozen=True, eq=False)
class JobKind(Generic[Row]):
    """All that differs between kinds of jobs, but for their work itself."""

    name: str
    """As the API calls one: in errors, logs, traces and the audit log."""
    plural: str
    row: type[Row]
    task_column: str
    """The column of `TaskRow` that names the job."""
    id_prefix: str
    answer: type[BaseModel]
    """How clients see one; its field `state` says which states there are."""
    tasks: tuple[TaskKind, ...]
    not_found: type[NotFoundError]
    queue_full: str
    """Told when `most` of a `model` wait already."""
    store_name: str | None = None
    """What the store's own reports call one, where that is not `name`."""
    remedy_if_missing: str = ""
    waits_for_line: bool = False
    """Whether a queued one waits for its line (`store.work.lines`), which gives it its first task; others have it at
    once."""
    keeps_events: bool = False
    """Whether changes of its state are written down as events."""
    versions: tuple[SQLColumnExpression[Any], ...] = ()
    """Numbers of versions that an unfinished one needs: they are not deleted meanwhile."""
    more_versions: InstrumentedAttribute[Any] | None = None
    """A column with a list of such numbers, or null."""
    facts: SQLColumnExpression[int] | None = None
    """How many facts one has, where they count in what a key may edit and measure in a day."""
    facts_count_where: tuple[ColumnElement[bool], ...] = ()
    belongings: tuple[InstrumentedAttribute[str], ...] = ()
    """Columns of other tables that name one: such rows go with it."""

    @property
    def states(self) -> tuple[str, ...]:
        return get_args(self.answer.model_fields["state"].annotation)

    @property
    def running_states(self) -> tuple[str, ...]:
        """Those in which a worker may be at it."""
        return tuple(state for state in self.states if state != "queued" and state not in FINAL_STATES)

    @property
    def can_be_cancelled(self) -> bool:
        return "cancelled" in self.states

    @property
    def is_stoppable(self) -> bool:
        """Whether its worker is asked to stop, and ends it: another kind ends at once, under its worker."""
        return issubclass(self.row, StoppableRow)

    @property
    def unfinished(self) -> ColumnElement[bool]:
        return self.row.state.not_in(FINAL_STATES)

    @property
    def in_order(self) -> SQLColumnExpression[Any]:
        """The column to sort by, oldest first."""
        return self.row.seq if issubclass(self.row, SequencedRow) else self.row.created_at


EDIT: Final = JobKind(
    name="edit",
    plural="edits",
    store_name="batch",
    row=BatchRow,
    task_column="batch_id",
    id_prefix="edit",
    answer=EditJob,
    tasks=(
        TaskKind("plan", control_queue),
        TaskKind("values", values_queue, sharded=True),
        TaskKind("solve", solve_queue),
        TaskKind("revert", solve_queue),
        TaskKind("plan_kept", control_queue),
        TaskKind("solve_kept", solve_queue),
    ),
    not_found=BatchNotFoundError,
    remedy_if_missing="; GET /v1/edits lists them",
    queue_full="{most} batches wait already for model {model!r}; try again later",
    waits_for_line=True,
    keeps_events=True,
    versions=(BatchRow.base_version, BatchRow.branch_of, BatchRow.carried_to, BatchRow.consolidates),
    facts=BatchRow.facts,
    facts_count_where=(BatchRow.kind != "revert",),
)
EVALUATION: Final = JobKind(
    name="evaluation",
    plural="evaluations",
    row=EvaluationRow,
    task_column="evaluation_id",
    id_prefix="eval",
    answer=EvaluationJob,
    tasks=(TaskKind("evaluate", evaluate_queue),),
    not_found=EvaluationNotFoundError,
    queue_full="{most} evaluations wait already for model {model!r}; try again later",
    versions=(EvaluationRow.version, EvaluationRow.compare_with),
    more_versions=EvaluationRow.others,
    facts=EvaluationRow.n_facts,
    belongings=(EvaluationFactRow.evaluation_id,),
)
EXPORT: Final = JobKind(
    name="export",
    plural="exports",
    row=ExportRow,
    task_column="export_id",
    id_prefix="export",
    answer=ExportJob,
    tasks=(TaskKind("export", evaluate_queue),),
    not_found=ExportNotFoundError,
    queue_full="{most} exports of model {model!r} wait already; try again later",
    versions=(ExportRow.version,),
)
STATISTIC: Final = JobKind(
    name="statistic",
    plural="statistics",
    row=StatisticRow,
    task_column="statistic_id",
    id_prefix="stat",
    answer=StatisticJob,
    # As long as a shard of values, it waits like one.
    tasks=(TaskKind("statistic", values_queue, yields=True),),
    not_found=StatisticNotFoundError,
    queue_full="{most} statistics of model {model!r} wait already; try again later",
)

KINDS: Final[tuple[JobKind[Any], ...]] = (EDIT, EVALUATION, EXPORT, STATISTIC)
TASK_KINDS: Final = {task.name: task for kind in KINDS for task in kind.tasks}
_BY_ROW: Final[dict[type[JobRow], JobKind[Any]]] = {kind.row: kind for kind in KINDS}


def kind_of(row: Row) -> JobKind[Row]:
    return _BY_ROW[type(row)]


def belongs_to(job: JobRow) -> ColumnElement[bool]:
    """Of a task: whether it is one of the job's."""
    column: InstrumentedAttribute[str | None] = getattr(TaskRow, kind_of(job).task_column)
    return column == job.id


def is_sharded(task: TaskRow) -> bool:
    """False for a kind of task that only another release knows."""
    return task.kind in TASK_KINDS and TASK_KINDS[task.kind].sharded


def yields(task: TaskRow) -> bool:
    """False for a kind of task that only another release knows."""
    return task.kind in TASK_KINDS and TASK_KINDS[task.kind].yields


def kind_of_task(task: TaskRow) -> JobKind[Any] | None:
    """The kind of the job that the task belongs to; None where its row names none."""
    return next((kind for kind in KINDS if job_id(task, kind) is not None), None)


def job_id(task: TaskRow, kind: JobKind[Any]) -> str | None:
    """The job of that kind that the task belongs to."""
    found: str | None = getattr(task, kind.task_column)
    return found


def job_ids(task: TaskRow) -> dict[str, str]:
    """Name of the kind → id of the job that the task belongs to, for logs and traces."""
    ids = {kind.name: job_id(task, kind) for kind in KINDS}
    return {name: found for name, found in ids.items() if found is not None}
