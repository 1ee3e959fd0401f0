"""Many clients at two API processes at once: each batch is kept once, in one order, on either database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import BatchRow, FactRow, TaskRow
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, wait_until

pytestmark = BOTH_DATABASES


@pytest.fixture
def two(serve: Callable[..., Api], model: str) -> Callable[..., tuple[Api, Api]]:
    """Two applications with the same database and Redis."""

    def _two(**settings: Any) -> tuple[Api, Api]:
        apis = serve(**settings), serve(**settings)
        for api in apis:
            # FastAPI makes a route at its first request, and two applications in one process must not do so at once.
            assert api.edit(facts=[]).status_code == 422
        return apis

    return _two


@pytest.fixture
def apis(two: Callable[..., tuple[Api, Api]]) -> tuple[Api, Api]:
    return two()


def at_once(count: int, ask: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """The answers to `count` requests that are sent in one moment."""
    start = threading.Barrier(count)

    def one(number: int) -> httpx.Response:
        start.wait(60)
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def body(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "facts": [fact(number)], **fields}


def kept(database: Database) -> list[BatchRow]:
    with database.reading() as session:
        return list(session.scalars(select(BatchRow).order_by(BatchRow.seq)))


def test_one_idempotency_key_from_many_clients_is_one_batch(apis: tuple[Api, Api], database: Database) -> None:
    answers = at_once(
        8, lambda number: apis[number % 2].http.post("/v1/edits", json=body(), headers={"Idempotency-Key": "one"})
    )

    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["id"] for answer in answers} == {row.id for row in kept(database)}
    assert len(kept(database)) == 1
    other = apis[0].http.post("/v1/edits", json=body(1), headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_one_idempotency_key_with_two_bodies_at_once_keeps_one_and_refuses_the_other(
    apis: tuple[Api, Api], database: Database
) -> None:
    answers = at_once(
        2, lambda number: apis[number].http.post("/v1/edits", json=body(number), headers={"Idempotency-Key": "two"})
    )

    assert sorted(answer.status_code for answer in answers) == [202, 422]
    assert len(kept(database)) == 1


def test_fifty_batches_at_once_are_all_kept_in_one_order_and_one_is_started(
    apis: tuple[Api, Api], database: Database
) -> None:
    answers = at_once(50, lambda number: apis[number % 2].http.post("/v1/edits", json=body(number)))

    assert {answer.status_code for answer in answers} == {202}
    rows = kept(database)
    assert {row.id for row in rows} == {answer.json()["id"] for answer in answers}
    assert [row.seq for row in rows] == list(range(1, 51))
    wait_until(lambda: kept(database)[0].state == "planning", "the first batch is started")
    states = [row.state for row in kept(database)]
    assert (states[0], set(states[1:])) == ("planning", {"queued"})
    with database.reading() as session:
        assert [task.batch_id for task in session.scalars(select(TaskRow))] == [rows[0].id]
        subjects = {one["subject"] for one in session.scalars(select(FactRow.fact))}
    assert subjects == {fact(number)["subject"] for number in range(50)}


def test_the_queue_takes_exactly_as_many_as_it_may(two: Callable[..., tuple[Api, Api]], database: Database) -> None:
    apis = two(max_queued_batches=5)

    answers = at_once(12, lambda number: apis[number % 2].http.post("/v1/edits", json=body(number)))

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(429)) == (5, 7)
    assert len(kept(database)) == 5


def test_a_stale_if_match_keeps_nothing(apis: tuple[Api, Api], database: Database) -> None:
    first = apis[0].http.post("/v1/edits", json=body(), headers={"If-Match": '"v0"'})
    assert first.status_code == 202
    publish_first(database)

    answers = at_once(
        4, lambda number: apis[number % 2].http.post("/v1/edits", json=body(number), headers={"If-Match": '"v0"'})
    )

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "conflict")}
    assert "is v1 now" in answers[0].json()["detail"]
    assert len(kept(database)) == 1
    fresh = apis[1].http.post("/v1/edits", json=body(9), headers={"If-Match": '"v1"'})
    assert fresh.status_code == 202


def test_of_many_that_move_an_alias_from_one_version_one_succeeds(apis: tuple[Api, Api], database: Database) -> None:
    apis[0].http.post("/v1/edits", json=body())
    publish_first(database)
    path = f"/v1/models/{MODEL}/aliases/latest"

    answers = at_once(6, lambda number: apis[number % 2].http.put(path, json={"version": "v0", "expected": "v1"}))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]


def publish_first(database: Database) -> None:
    """The one batch there is becomes v1, as a worker would make it."""
    wait_until(lambda: kept(database)[0].state == "planning", "the batch is started")
    new = lineage.NewVersion([1], 1, "0" * 64, {"1": "1" * 64}, 1, 1, {}, {}, {})
    with database.writing() as session:
        row = session.get(BatchRow, kept(database)[0].id)
        assert row is not None
        lineage.publish(session, row, new)
        row.state = "succeeded"
