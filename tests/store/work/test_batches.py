"""Accepting a batch: once for one Idempotency-Key, its facts and first event in one transaction; and cancelling it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from api_schemas.references import parse_reference
from store.clock import now
from store.errors import BatchNotFoundError, ConflictError, IdempotencyConflictError, LeaseLostError
from store.schema.database import Database
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, events, lifecycle, lines, tasks
from store.work.kinds import EDIT
from tests.store.conftest import FACT, Accept, publish


def test_facts_keep_their_order_and_the_first_event_is_there(database: Database) -> None:
    facts = [{**FACT, "subject": str(n)} for n in range(50)]
    with database.writing() as session:
        row, new = batches.accept(
            session, batches.NewBatch(parse_reference("tiny"), "emmet", {}, {}, facts), most_queued=9
        )
    assert new
    with database.reading() as session:
        assert batches.facts(session, row.id) == facts
        assert batches.facts(session, row.id, first=48) == facts[48:]
        assert [event.kind for event in events.after(session, row.id, 0)] == ["queued"]


def test_nothing_is_kept_of_a_transaction_that_fails(database: Database, accept: Accept) -> None:
    def failing() -> None:
        with database.writing() as session:
            accept(session)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        failing()
    with database.reading() as session:
        assert lifecycle.page(session, EDIT, None, None, 10) == []


def test_the_same_key_and_body_is_the_same_batch(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        first = accept(session, idempotency_key="k", body_sha256="a" * 64)
        again = accept(session, idempotency_key="k", body_sha256="a" * 64)
        assert first.id == again.id
        assert accept(session, idempotency_key="k", body_sha256="a" * 64, caller="other").id != first.id
        with pytest.raises(IdempotencyConflictError, match="another body"):
            accept(session, idempotency_key="k", body_sha256="b" * 64)


def test_if_match_refuses_a_stale_reader(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session, if_match=0)
        lines.advance(session)
        publish(session, batch)
        with pytest.raises(ConflictError, match="is v1 now"):
            accept(session, if_match=0)


def test_if_match_is_refused_while_others_run_before_it(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        first = accept(session, if_match=0)
        with pytest.raises(ConflictError, match=rf"If-Match v0: {first.id} run before this batch"):
            accept(session, if_match=0)
        lines.advance(session)
        with pytest.raises(ConflictError, match=first.id):
            accept(session, if_match=0, urgent=True)
        assert accept(session).state == "queued"
        assert accept(session, "tiny@v0", if_match=0).state == "queued"


def test_if_match_is_not_refused_for_what_cannot_move_the_alias_first(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        accept(session, dry_run=True)
        cancelled = accept(session)
        lines.advance(session)
        cancelled.cancel_requested = True
        assert accept(session, if_match=0).state == "queued"
        assert accept(session, if_match=0, urgent=True).state == "queued"


def test_a_final_state_stays(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        lifecycle.cancel(session, batch)
        assert batch.state == "cancelled"
        batches.set_state(session, batch, "planning")
        lifecycle.end(session, batch, "failed", {"code": "x"})
        assert batch.state == "cancelled"
        assert batch.error is not None
        assert batch.error["code"] == "cancelled"
        assert lines.advance(session) == []


def held_task(session: Session, batch: BatchRow, lease_seconds: float) -> TaskRow:
    """The batch's first task, as a worker holds it for so long."""
    lines.advance(session)
    (task,) = tasks.of_batch(session, batch.id, "plan")
    held = tasks.acquire(session, task.id, "worker", lease_seconds)
    assert held is not None
    return held


def test_cancelling_what_a_worker_does_asks_it_to_stop(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        held = held_task(session, batch, 60)
        lifecycle.cancel(session, batch)
        assert (batch.state, batch.cancel_requested) == ("planning", True)
        assert lifecycle.cancel_unattended(session) == []
        tasks.complete(session, held.id, held.token)


def test_cancelling_what_no_worker_has_taken_frees_its_line_at_once(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch, following = accept(session), accept(session)
        lines.advance(session)
        lifecycle.cancel(session, batch)
        assert batch.error is not None
        assert (batch.state, batch.error["code"]) == ("cancelled", "cancelled")
        assert [task.state for task in tasks.of_batch(session, batch.id, "plan")] == ["withdrawn"]
        assert [row.id for row in lines.advance(session)] == [following.id]


def test_cancelling_what_a_dead_worker_held_ends_it_and_the_zombie_cannot_commit(
    database: Database, accept: Accept
) -> None:
    with database.writing() as session:
        batch = accept(session)
        held = held_task(session, batch, -1)
        token = held.token
        lifecycle.cancel(session, batch)
        lifecycle.set_progress(batch, "planning", 1, 1, None)
        assert (batch.state, batch.progress["done"]) == ("cancelled", 0)
        with pytest.raises(LeaseLostError):
            tasks.renew(session, held.id, token, 60)
        with pytest.raises(LeaseLostError):
            tasks.complete(session, held.id, token)


def test_progress_is_written_without_reading_the_batch(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
    said: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def _note(
        _connection: object, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
    ) -> None:
        said.append(statement)

    def write(done: float) -> dict[str, Any]:
        said.clear()
        with database.updating() as session:
            lifecycle.write_progress(session, EDIT, batch.id, "optimising", done, 2, 3.5)
        assert [one.split()[:2] for one in said if "batches" in one] == [["UPDATE", "batches"]]
        assert not any("advisory" in one for one in said), "no writer of other rows is waited for"
        with database.reading() as session:
            return batches.get(session, batch.id).progress

    assert write(1) == {"stage": "optimising", "done": 1, "total": 2, "eta_seconds": 3.5}
    with database.writing() as session:
        lifecycle.cancel(session, batches.get(session, batch.id))
    assert write(2)["done"] == 1, "an end stays"


@pytest.mark.parametrize("how", ["its lease ran out", "it gave the task back"])
def test_what_a_worker_left_before_it_heard_of_the_cancel_is_ended(
    database: Database, accept: Accept, how: str
) -> None:
    with database.writing() as session:
        batch = accept(session)
        other = accept(session, "tiny@v0")
        held = held_task(session, batch, 60)
        lifecycle.cancel(session, batch)
        if how == "its lease ran out":
            held.lease_expires_at = now() - timedelta(seconds=1)
        else:
            tasks.release(session, held)
    with database.writing() as session:
        assert [row.id for row in lifecycle.cancel_unattended(session)] == [batch.id]
        assert lifecycle.cancel_unattended(session) == []
        assert (batches.get(session, batch.id).state, batches.get(session, other.id).state) == ("cancelled", "planning")
        assert tasks.acquire(session, held.id, "heir", 60) is None


def test_an_unknown_batch_says_where_to_look(database: Database) -> None:
    with database.reading() as session, pytest.raises(BatchNotFoundError, match="GET /v1/edits"):
        batches.get(session, "edit_none")
