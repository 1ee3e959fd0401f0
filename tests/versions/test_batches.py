"""Accepting a batch: once for one Idempotency-Key, with its facts and its first event in one transaction."""

from __future__ import annotations

import pytest

from api_schemas.references import parse_reference
from tests.versions.conftest import FACT, Accept, publish
from versions import batches, events, lines
from versions.database import Database
from versions.errors import BatchNotFoundError, ConflictError, IdempotencyConflictError


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
        assert batches.page(session, None, None, 10) == []


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


def test_a_final_state_stays(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        batches.request_cancel(session, batch)
        assert batch.state == "cancelled"
        batches.set_state(session, batch, "planning")
        batches.fail(session, batch, "failed", {"code": "x"})
        assert batch.state == "cancelled"
        assert batch.error is not None
        assert batch.error["code"] == "cancelled"
        assert lines.advance(session) == []


def test_cancelling_what_runs_asks_it_to_stop(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        lines.advance(session)
        batches.request_cancel(session, batch)
        assert (batch.state, batch.cancel_requested) == ("planning", True)


def test_an_unknown_batch_says_where_to_look(database: Database) -> None:
    with database.reading() as session, pytest.raises(BatchNotFoundError, match="GET /v1/edits"):
        batches.get(session, "edit_none")
