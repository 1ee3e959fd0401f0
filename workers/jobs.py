"""The one function that RQ calls: take a task's lease, do its kind of work, keep or give back what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import torch

from configuration import tracing
from configuration.redis.keys import values_queue
from editing.errors import EditingError, EditInterrupted
from editing.progress import check
from store.errors import BlobStoreAwayError, LeaseLostError, StoreError
from store.schema.tables import TaskRow
from store.work import tasks
from store.work.kinds import EDIT, job_ids, kind_of_task
from workers.consolidating.plan_kept import plan_kept
from workers.consolidating.solve_kept import solve_kept
from workers.context import WorkerContext, current
from workers.evaluating.evaluate import evaluate
from workers.process.retrying import DATABASE_AWAY, disk_unavailable
from workers.process.task_trace import attempt
from workers.reverting.revert import revert
from workers.tasks.export import export
from workers.tasks.lease import Lease
from workers.tasks.outcome import CancelledError, end_with_error
from workers.tasks.plan import plan
from workers.tasks.prepare_statistic import prepare_statistic
from workers.tasks.solve import solve
from workers.tasks.values import optimise_shard

Handler = Callable[[WorkerContext, TaskRow, Lease], None]

HANDLERS: dict[str, Handler] = {
    "plan": plan,
    "values": optimise_shard,
    "solve": solve,
    "revert": revert,
    "plan_kept": plan_kept,
    "solve_kept": solve_kept,
    "evaluate": evaluate,
    "export": export,
    "statistic": prepare_statistic,
}
DISK_SECONDS = 2.0
"""A worker whose disk is full or away looks again after this long."""
_NO_LONGER_HELD = "this worker's hold on the task is gone: another has it, or nobody waits for it any more"
MOST_UNEXPECTED = 2
"""Attempts of a task that ends with an error we did not foresee, before its batch fails."""

log = structlog.get_logger(__name__)


def run(task_id: str) -> None:
    """Do one task. Doing it twice is harmless: whoever holds no lease does nothing, and a zombie cannot commit."""
    context = current()
    with context.database.writing() as session:
        task = tasks.acquire(session, task_id, context.id, context.settings.lease_seconds)
    if task is None:
        log.debug("task not taken", task=task_id)
        return
    with (
        structlog.contextvars.bound_contextvars(task=task.id, stage=task.kind, shard=task.shard, **job_ids(task)),
        attempt(context.database, task, context.id),
    ):
        context.status.busy(task.kind)
        try:
            with Lease(context.database, task, context.settings.lease_seconds, context.stopping) as lease:
                _run(context, task, lease)
        finally:
            context.status.busy(None)


def _run(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    log.info("task started", attempt=task.attempts)
    try:
        check(lease.should_stop, "the task")
        HANDLERS[task.kind](context, task, lease)
        log.info("task done")
    except LeaseLostError:
        tracing.fail("lease_lost")
        log.warning(_NO_LONGER_HELD)
    except EditInterrupted:
        _interrupted(context, task, lease)
    except CancelledError:
        _cancelled(context, task)
    except DATABASE_AWAY as error:
        # The database is away: nothing can be said there. The lease runs out and the task is taken up again.
        tracing.fail("database_away")
        log.error("database lost during the task", error=str(getattr(error, "orig", error)))
    except BlobStoreAwayError as error:
        _wait_for_the_disk(context, task, str(error))
    except (EditingError, StoreError) as error:
        # A revert looks at facts of several edits together, whose numbers there are none that its caller knows.
        facts = list(error.facts) if isinstance(error, EditingError) and task.kind != "revert" else []
        _log_refusal(error, facts)
        kind = kind_of_task(task) or EDIT
        _fail(context, task, error.code, f"The {kind.name} cannot be made", str(error), facts)
    except (OSError, torch.OutOfMemoryError, MemoryError) as error:
        if (reason := disk_unavailable(error)) is not None:
            _wait_for_the_disk(context, task, reason)
            return
        log.exception("the machine refused")
        _retry_or_fail(context, task, tasks.MOST_ATTEMPTS, "machine", f"the worker's machine refused: {error}")
    except Exception as error:
        log.exception("task failed unexpectedly")
        _retry_or_fail(
            context, task, MOST_UNEXPECTED, "internal", f"{type(error).__name__}; the worker's log says more"
        )


def _log_refusal(error: EditingError | StoreError, facts: list[int]) -> None:
    """What `editing` says may quote a fact, which no log shall hold: its sentence goes to SQL, for the client alone.

    The store's sentences name versions, aliases and blobs, and its operator needs them.
    """
    said = {"error": str(error)} if isinstance(error, StoreError) else {}
    log.info("task refused", code=error.code, facts=facts, **said)


def _wait_for_the_disk(context: WorkerContext, task: TaskRow, reason: str) -> None:
    """It was no fault of the task, and trying does not use it up: somebody frees or mends the disk, and it goes on."""
    log.error("the task waits for its disk", error=reason, seconds=DISK_SECONDS)
    context.status.detail(f"waiting: {reason}")
    _give_back(context, task, tried=False)
    context.stopping.wait(DISK_SECONDS)
    context.status.detail("")


def _interrupted(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    if lease.reason == "cancelled":
        _cancelled(context, task)
    elif lease.reason == "stopping":
        log.info("task given back: this worker stops")
        _give_back(context, task, tried=False)
    elif lease.reason == "yielding":
        log.info("task given back: something else waits")
        _give_back(context, task, tried=False, queue=values_queue(task.model))
    else:
        tracing.fail("lease_lost")
        log.warning(_NO_LONGER_HELD)


def _cancelled(context: WorkerContext, task: TaskRow) -> None:
    log.info("cancelled")
    _fail(context, task, "cancelled", "Cancelled", "cancelled on request while it ran", [])


def _give_back(context: WorkerContext, task: TaskRow, *, tried: bool = True, queue: str | None = None) -> None:
    """`tried` where it counts as an attempt at the task. It waits in `queue` from now on, where one is given.

    What gave way waits behind the shards of values that wait already: two evaluations that gave way to each other
    would else be taken in turn, and the shards never.
    """
    tracing.fail("given_back")
    with context.database.writing() as session:
        row = tasks.get(session, task.id)
        if row is not None and row.token == task.token and row.state == "running":
            tasks.release(session, row)
            row.attempts -= not tried
            row.queue = row.queue if queue is None else queue


def _retry_or_fail(context: WorkerContext, task: TaskRow, most: int, code: str, detail: str) -> None:
    if task.attempts < most:
        _give_back(context, task)
    else:
        _fail(context, task, code, "The worker failed", detail, [])


def _fail(context: WorkerContext, task: TaskRow, code: str, title: str, detail: str, facts: list[int]) -> None:
    error: dict[str, Any] = {"code": code, "title": title, "detail": detail, "facts": facts}
    tracing.fail(code)
    with context.database.writing() as session:
        try:
            tasks.complete(session, task.id, task.token, {"error": code})
        except LeaseLostError:
            log.warning("another worker holds this task now; its failure here is not recorded")
            return
        end_with_error(session, task, error)
