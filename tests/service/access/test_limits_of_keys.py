"""What a key may do in a minute, in a day and at a time; the one limit does not touch the other keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import update

from configuration.redis.generation_messages import EndEvent, FinishEvent, GenerationRequest, TokensEvent
from configuration.redis.keys import rate_key
from store.access import keys
from store.access.audit import Actor
from store.access.keys import KeyLimits
from store.lineage import versions as lineage
from store.lineage.versions import NewVersion
from store.schema.database import Database
from store.schema.tables import BatchRow
from store.work import batches, lifecycle, lines
from store.work.kinds import EDIT
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import METRICS
from tests.support.stand_in_worker import StandInWorker

Headers = dict[str, str]
MakeKey = Callable[..., Headers]


@pytest.fixture
def locked(serve: Callable[..., Api], model: str) -> Api:
    return serve(auth="on", key_requests_per_minute=4, key_facts_per_day=7)


@pytest.fixture
def key(database: Database) -> MakeKey:
    """The headers of a new key with these limits."""

    def make(**limits: int) -> Headers:
        with database.writing() as session:
            _, text = keys.create(
                session,
                Actor("cli:ada"),
                label="a",
                scopes=["edit", "evaluate", "generate"],
                limits=KeyLimits(**limits),
            )
        return {"Authorization": f"Bearer {text}"}

    return make


def edit(api: Api, headers: Headers, facts: int, **more: str) -> httpx.Response:
    body = {"model": MODEL, "facts": [fact(number) for number in range(facts)]}
    return api.http.post("/v1/edits", json=body, headers={**headers, **more})


def refused(answer: httpx.Response, code: str) -> int:
    """The seconds after which to try again."""
    assert (answer.status_code, answer.json()["code"]) == (429, code), answer.text
    assert f"try again in {answer.headers['retry-after']} s" in answer.json()["detail"]
    return int(answer.headers["retry-after"])


def test_requests_of_a_minute_are_counted_for_each_key(locked: Api, key: MakeKey) -> None:
    own, default, none = key(requests_per_minute=2), key(), key(requests_per_minute=0)

    def allowed(headers: Headers, requests: int) -> int:
        return [locked.http.get("/v1/models", headers=headers).status_code for _ in range(requests)].count(200)

    assert (allowed(own, 3), allowed(default, 5), allowed(none, 9)) == (2, 4, 9)
    answer = locked.http.get("/v1/models", headers=own)
    assert 1 <= refused(answer, "request_limit") <= 30
    assert "2 requests a minute" in answer.json()["detail"]


def test_a_refusal_on_openais_paths_is_one_that_its_clients_know(locked: Api, key: MakeKey) -> None:
    headers = key(requests_per_minute=1)
    for _ in range(2):
        answer = locked.http.post("/tokenize", json={"model": MODEL, "prompt": "Lyon"}, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "request_limit")
    assert int(answer.headers["retry-after"]) > 0


def test_a_bucket_fills_with_time(locked: Api, key: MakeKey) -> None:
    headers = key(requests_per_minute=2)
    for _ in range(3):
        answer = locked.http.get("/v1/models", headers=headers)
    assert answer.status_code == 429
    bucket = rate_key("requests", headers["Authorization"].split()[1][:16])
    left, at = (float(value) for value in locked.resources.redis.hmget(bucket, "left", "at"))  # type: ignore[arg-type, union-attr]
    assert left < 1
    locked.resources.redis.hset(bucket, "at", str(at - 31))  # as if half a minute had passed
    assert locked.http.get("/v1/models", headers=headers).status_code == 200
    assert locked.http.get("/v1/models", headers=headers).status_code == 429


def test_while_redis_is_away_requests_are_not_limited(serve: Callable[..., Api], model: str, key: MakeKey) -> None:
    api = serve(auth="on", redis_url=SecretStr("redis://127.0.0.1:1/0"))
    headers = key(requests_per_minute=1)
    assert [api.http.get("/v1/models", headers=headers).status_code for _ in range(3)] == [200] * 3


def test_the_configured_key_has_no_limits(serve: Callable[..., Api], model: str) -> None:
    api = serve(api_key=SecretStr("first"), key_requests_per_minute=1, key_facts_per_day=1, key_open_batches=1)
    headers = {"Authorization": "Bearer first"}
    assert [edit(api, headers, 2).status_code for _ in range(3)] == [202] * 3


@BOTH_DATABASES
def test_facts_of_a_day_are_counted_in_sql(locked: Api, key: MakeKey, database: Database) -> None:
    headers, other = key(requests_per_minute=0), key()
    assert edit(locked, headers, 4).status_code == 202
    assert edit(locked, headers, 3).status_code == 202
    answer = edit(locked, headers, 1)
    assert 86300 < refused(answer, "facts_limit") <= 86400
    assert "may edit 7 facts in 24 hours; it had 7, and the batch has 1" in answer.json()["detail"]
    assert edit(locked, other, 7).status_code == 202
    assert "send fewer" in edit(locked, key(), 8).json()["detail"]
    with database.writing() as session:  # the first of them is yesterday's
        first = min(lifecycle.page(session, EDIT, MODEL, None, 10), key=lambda row: row.seq)
        session.execute(
            update(BatchRow).where(BatchRow.id == first.id).values(created_at=first.created_at - timedelta(hours=25))
        )
    assert edit(locked, headers, 4).status_code == 202
    refused(edit(locked, headers, 1), "facts_limit")


def test_what_is_sent_again_is_counted_once(locked: Api, key: MakeKey) -> None:
    headers = {**key(), "Idempotency-Key": "one"}
    assert {edit(locked, headers, 7).json()["id"] for _ in range(3)} == {edit(locked, headers, 7).json()["id"]}


def test_two_keys_may_use_the_same_idempotency_key(locked: Api, key: MakeKey) -> None:
    answers = [edit(locked, key(), 1, **{"Idempotency-Key": "one"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 2


@BOTH_DATABASES
def test_batches_at_a_time_are_counted_until_they_end(locked: Api, key: MakeKey, database: Database) -> None:
    headers = key(open_batches=2, requests_per_minute=0)
    first, second = (edit(locked, headers, 1).json()["id"] for _ in range(2))
    answer = edit(locked, headers, 1)
    refused(answer, "batch_limit")
    assert "2 batches waiting or running at a time" in answer.json()["detail"]
    with database.writing() as session:
        lifecycle.cancel(session, batches.get(session, second))
        if batches.get(session, second).state != "cancelled":  # it runs already
            lifecycle.end(session, batches.get(session, second), "cancelled", {"code": "cancelled"})
    assert first != second
    assert edit(locked, headers, 1).status_code == 202


def evaluate(api: Api, headers: Headers, facts: int) -> httpx.Response:
    body = {"model": MODEL, "facts": [fact(number) for number in range(facts)]}
    return api.http.post("/v1/evaluations", json=body, headers=headers)


@BOTH_DATABASES
def test_facts_that_are_measured_count_too(locked: Api, key: MakeKey) -> None:
    headers = key(requests_per_minute=0)
    assert evaluate(locked, headers, 4).status_code == 202
    assert edit(locked, headers, 2).status_code == 202
    answer = evaluate(locked, headers, 2)
    refused(answer, "facts_limit")
    assert "it had 6, and the evaluation has 2; measured ones count too" in answer.json()["detail"]
    refused(edit(locked, headers, 2), "facts_limit")
    assert evaluate(locked, headers, 1).status_code == 202
    assert evaluate(locked, key(), 7).status_code == 202


@BOTH_DATABASES
def test_evaluations_and_exports_count_with_batches(locked: Api, key: MakeKey, database: Database) -> None:
    headers = key(open_batches=3, requests_per_minute=0)
    edit_id = edit(locked, headers, 1).json()["id"]
    with database.writing() as session:
        row = batches.get(session, edit_id)
        row.base_version = 0
        new = NewVersion([1], 7, "b" * 64, {"1": "c" * 64}, 1, 1, {"1": "a" * 64}, {}, METRICS)
        lineage.publish(session, row, new)
        batches.set_state(session, row, "succeeded")
    export = f"/v1/models/{MODEL}/versions/v1/export"

    def exported(rank: int) -> httpx.Response:
        return locked.http.get(export, params={"max_rank": rank}, headers=headers)

    evaluation = evaluate(locked, headers, 1).headers["location"]
    assert [exported(rank).status_code for rank in (1, 2, 2, 1)] == [202] * 4, (
        "what is asked for again is there already"
    )
    for answer in (exported(3), evaluate(locked, headers, 1), edit(locked, headers, 1)):
        refused(answer, "batch_limit")
        assert (
            "3 batches waiting or running at a time, evaluations, exports and statistics among them"
            in answer.json()["detail"]
        )
    assert locked.http.post(f"{evaluation}/cancel", headers=headers).status_code == 200
    assert exported(3).status_code == 202
    refused(edit(locked, headers, 1), "batch_limit")
    assert edit(locked, key(), 1).status_code == 202


@BOTH_DATABASES
def test_statistics_count_with_batches(locked: Api, key: MakeKey) -> None:
    headers, other = key(open_batches=2, requests_per_minute=0), key(open_batches=2)

    def asked(headers: Headers) -> httpx.Response:
        return locked.http.post("/v1/statistics", json={"model": MODEL}, headers=headers)

    first, second = asked(headers), edit(locked, headers, 1)
    assert (first.status_code, second.status_code) == (202, 202)
    for answer in (asked(headers), edit(locked, headers, 1)):
        refused(answer, "batch_limit")
        assert "2 batches waiting or running at a time" in answer.json()["detail"]
        assert "statistics among them" in answer.json()["detail"]
    assert asked(other).status_code == 202
    assert locked.http.post(f"{first.headers['location']}/cancel", headers=headers).status_code == 200
    assert asked(headers).status_code == 202


def test_a_revert_needs_no_facts_of_the_day(locked: Api, key: MakeKey, database: Database) -> None:
    headers = key(requests_per_minute=0)
    edit_id = edit(locked, headers, 7).json()["id"]
    with database.writing() as session:
        row = batches.get(session, edit_id)
        lines.advance(session)
        row.base_version = 0
        new = NewVersion([1], 7, "b" * 64, {"1": "c" * 64}, 1, 1, {"1": "a" * 64}, {}, METRICS)
        lineage.publish(session, row, new)
        batches.set_state(session, row, "succeeded")
    path = f"/v1/models/{MODEL}/versions/v1/revert"
    assert locked.http.post(path, json={"facts": [0, 1]}, headers=headers).status_code == 202


def says_three_tokens(request: GenerationRequest) -> Any:
    yield TokensEvent(choice=0, text=" a b c", count=3)
    yield FinishEvent(choice=0, reason="stop")
    yield EndEvent(version=request.version)


def test_an_echoed_prompt_with_log_probabilities_takes_its_tokens_for_each_choice(
    locked: Api, key: MakeKey, worker: StandInWorker
) -> None:
    headers = key(tokens_per_minute=30, requests_per_minute=0)
    body = {"model": MODEL, "prompt": [5, 6, 7, 8], "n": 7, "max_tokens": 1, "echo": True}

    told = locked.http.post("/v1/completions", json={**body, "logprobs": 0}, headers=headers)
    assert "up to 35 tokens" in told.json()["error"]["message"]
    assert locked.http.post("/v1/completions", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_set_aside_before_and_what_was_not_used_comes_back(
    locked: Api, key: MakeKey, worker: StandInWorker, stream: bool
) -> None:
    worker.script = says_three_tokens
    headers = key(tokens_per_minute=30, requests_per_minute=0)
    body = {"model": MODEL, "prompt": [5, 6], "max_tokens": 20, "stream": stream}

    def complete(**more: Any) -> httpx.Response:
        return locked.http.post("/v1/completions", json={**body, **more}, headers=headers)

    assert complete().status_code == 200  # 22 set aside, 5 used
    assert complete().status_code == 200
    third = complete()  # 20 are left
    error = third.json()["error"]
    assert (third.status_code, error["code"]) == (429, "token_limit")
    assert 0 < int(third.headers["retry-after"]) < 60
    assert "this API key may have 30 tokens in a minute" in error["message"]
    assert complete(max_tokens=10).status_code == 200
    never = complete(max_tokens=29)
    assert (never.status_code, never.headers["retry-after"]) == (429, "60")
    assert "up to 31 tokens" in never.json()["error"]["message"]
