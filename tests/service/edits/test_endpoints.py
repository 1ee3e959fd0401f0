"""Accepting, watching, listing and cancelling edit batches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api_schemas.metrics import DEFAULT_BUDGET, DEFAULT_THRESHOLDS
from service.http.cursors import write_cursor
from service.http.preferences import wait_seconds
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.work import batches, lifecycle, tasks
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import publish

NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(*facts: Any) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in facts).encode()


def end(database: Database, edit_id: str) -> None:
    with database.writing() as session:
        reason = {"code": "test", "title": "Test", "detail": "ended by the test", "facts": []}
        lifecycle.end(session, batches.get(session, edit_id), "failed", reason)


def test_a_batch_is_in_sql_before_the_202(api: Api, database: Database) -> None:
    answer = api.edit([fact(), fact(1)], label="two", settings={"layers": [2], "mu": 0.5}, thresholds={"ES": 0.9})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/edits/{job['id']}"
    assert (job["state"], job["model"], job["base_version"], job["version"]) == ("queued", MODEL, None, None)
    assert (job["algorithm"], job["facts"], job["label"]) == ("emmet", 2, "two")
    assert job["progress"] == {"stage": "queued", "done": 0, "total": 2, "eta_seconds": None, "detail": None}
    assert (job["settings"]["layers"], job["settings"]["mu"], job["settings"]["steps"]) == ([2], 0.5, 25)
    assert job["thresholds"] == {**DEFAULT_THRESHOLDS, "ES": 0.9}
    assert job["budget"] == DEFAULT_BUDGET
    with database.reading() as session:
        assert [kept["subject"] for kept in batches.facts(session, job["id"])] == ["Country 0", "Country 1"]
    assert api.http.get(answer.headers["location"]).json()["id"] == job["id"]


def test_ndjson_has_a_fact_on_each_line(api: Api) -> None:
    answer = api.http.post(
        f"/v1/edits?model={MODEL}&algorithm=memit&label=lines", content=lines(fact(), fact(1)), headers=NDJSON
    )

    assert answer.status_code == 202
    assert (answer.json()["algorithm"], answer.json()["facts"], answer.json()["label"]) == ("memit", 2, "lines")


def test_an_error_in_ndjson_names_its_fact(api: Api) -> None:
    facts = [fact(number) for number in range(17)] + [fact(17, target_new="")]

    problem = api.http.post(f"/v1/edits?model={MODEL}", content=lines(*facts), headers=NDJSON).json()

    assert problem["errors"] == [{"loc": "facts[17].target_new", "msg": "is empty; say what it is"}]


def test_ndjson_without_a_model_or_with_other_parameters_is_refused(api: Api) -> None:
    missing = api.http.post("/v1/edits", content=lines(fact()), headers=NDJSON).json()
    unknown = api.http.post(f"/v1/edits?model={MODEL}&steps=3", content=lines(fact()), headers=NDJSON).json()

    assert missing["errors"] == [{"loc": "model", "msg": "is missing; add it"}]
    assert unknown["errors"][0]["loc"] == "query.steps"
    assert "application/json" in unknown["errors"][0]["msg"]


def test_counterfact_and_zsre_records_are_facts(api: Api) -> None:
    counterfact = {
        "case_id": 1,
        "requested_rewrite": {
            "prompt": "The capital of {} is",
            "subject": "France",
            "target_new": {"str": "Lyon"},
            "target_true": {"str": "Paris"},
        },
        "paraphrase_prompts": ["France's capital is"],
        "neighborhood_prompts": ["The Louvre is in"],
    }
    zsre = {"src": "What is the capital of Spain?", "subject": "Spain", "alt": "Lyon", "answers": ["Madrid"]}

    job = api.edit([counterfact, zsre]).json()

    kept = api.http.get(f"/v1/edits/{job['id']}/facts").json()["data"]
    assert kept[0]["target_old"] == "Paris"
    assert kept[0]["neighbors"] == [{"prompt": "The Louvre is in", "target": "Paris"}]
    assert kept[1]["prompt"] == "What is the capital of {}?"


def test_the_same_key_and_body_give_the_same_job(api: Api) -> None:
    key = {"Idempotency-Key": "k-1"}
    body = {"model": MODEL, "facts": [fact()]}

    first = api.http.post("/v1/edits", json=body, headers=key)
    second = api.http.post("/v1/edits", json=body, headers=key)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["location"] == first.headers["location"]
    assert len(api.http.get("/v1/edits").json()["data"]) == 1


def aliased(api: Api) -> None:
    """`staging` is v0."""
    assert api.http.put(f"/v1/models/{MODEL}/aliases/staging", json={"version": "v0"}).is_success


def without_alias(api: Api) -> None:
    assert api.http.delete(f"/v1/models/{MODEL}/aliases/staging").is_success


def with_another_version(api: Api) -> None:
    publish(api, api.resources.database, facts=1)
    assert api.http.put(f"/v1/models/{MODEL}/aliases/staging", json={"version": "v1"}).is_success


def with_lower_limits(api: Api) -> None:
    settings = api.resources.settings.model_copy(update={"max_facts": 1})
    api.app.state.resources = replace(api.resources, settings=settings)


@BOTH_DATABASES
@pytest.mark.parametrize("later", [without_alias, with_another_version, with_lower_limits])
def test_the_same_key_gives_the_same_job_whatever_has_changed_since(api: Api, later: Callable[[Api], None]) -> None:
    aliased(api)
    headers = {"Idempotency-Key": "k-1", "If-Match": '"v0"'}
    body = {"model": f"{MODEL}@staging", "facts": [fact(), fact(1)]}
    first = api.http.post("/v1/edits", json=body, headers=headers)

    later(api)

    again = api.http.post("/v1/edits", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert not api.http.post("/v1/edits", json=body, headers={"If-Match": '"v0"'}).is_success
    unreadable = api.http.post("/v1/edits", json=body, headers={**headers, "If-Match": ""})
    assert (unreadable.status_code, unreadable.json()["code"]) == (400, "malformed_request")


def test_the_same_key_at_the_same_moment_gives_one_job(api: Api) -> None:
    body = {"model": MODEL, "facts": [fact()]}

    def send(_: int) -> httpx.Response:
        return httpx.post(f"{api.url}/v1/edits", json=body, headers={"Idempotency-Key": "k-1"})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(12)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_key_with_another_body_is_refused(api: Api) -> None:
    key = {"Idempotency-Key": "k-1"}
    api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=key)

    answer = api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact(1)]}, headers=key)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert "use a new key" in answer.json()["detail"]
    assert len(api.http.get("/v1/edits").json()["data"]) == 1


def test_if_match_accepts_the_version_that_it_names(api: Api) -> None:
    answer = api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers={"If-Match": '"v0"'})

    assert answer.status_code == 202


def test_prefer_wait_answers_when_the_batch_has_ended(api: Api, database: Database) -> None:
    answers: list[httpx.Response] = []
    body = {"model": MODEL, "facts": [fact()]}
    waiting = threading.Thread(
        target=lambda: answers.append(
            httpx.post(f"{api.url}/v1/edits", json=body, headers={"Prefer": "wait=60"}, timeout=60)
        )
    )
    waiting.start()
    while not (found := api.http.get("/v1/edits").json()["data"]):
        time.sleep(0.01)
    assert not answers
    end(database, found[0]["id"])
    waiting.join()

    assert answers[0].status_code == 202
    assert answers[0].json()["state"] == "failed"
    assert answers[0].json()["error"]["detail"] == "ended by the test"
    assert answers[0].headers["preference-applied"] == "wait=60"
    assert answers[0].headers["location"] == f"/v1/edits/{found[0]['id']}"


def test_prefer_wait_ends_when_its_time_is_up(serve: Callable[..., Api], model: str) -> None:
    api = serve(wait_limit_seconds=0.2)

    answer = api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers={"Prefer": "wait=60"})

    assert answer.json()["state"] in ("queued", "planning")
    assert answer.headers["preference-applied"] == "wait=0.2"


def test_waiting_clients_hold_no_threads(api: Api) -> None:
    edit = api.edit().headers["location"]

    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(api.http.get, edit, headers={"Prefer": "wait=1"}) for _ in range(60)]
        assert api.http.get("/v1/edits").status_code == 200
        assert {one.result().status_code for one in waiting} == {200}


def test_preferences_are_read_as_rfc_7240_has_them() -> None:
    assert wait_seconds(None, 60) is None
    assert wait_seconds("respond-async", 60) is None
    assert wait_seconds("respond-async, wait=10", 60) == 10
    assert wait_seconds("Wait = 10; foo=bar", 60) == 10
    assert wait_seconds('handling=lenient,wait="100"', 60) == 60
    assert wait_seconds("await=10", 60) is None
    assert wait_seconds("wait=soon", 60) is None


def test_edits_are_listed_newest_first_in_pages(api: Api) -> None:
    ids = [api.edit([fact(number)]).json()["id"] for number in range(5)]

    seen, cursor = [], None
    while True:
        page = api.http.get("/v1/edits", params={"limit": 2, "model": MODEL, **({"cursor": cursor} if cursor else {})})
        seen += [job["id"] for job in page.json()["data"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break

    assert seen == ids[::-1]


def test_a_batchs_facts_are_listed_in_order_in_pages(api: Api) -> None:
    edit = api.edit([fact(number) for number in range(5)]).headers["location"]

    first = api.http.get(f"{edit}/facts?limit=3").json()
    rest = api.http.get(f"{edit}/facts", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [(one["index"], one["subject"]) for one in first["data"] + rest["data"]] == [
        (number, f"Country {number}") for number in range(5)
    ]
    assert rest["next_cursor"] is None


def test_a_correction_says_which_fact_it_supersedes(api: Api, database: Database) -> None:
    first = publish(api, database)
    edit = api.edit([fact(5), fact(1, target_new="Nice"), fact(1, target_new="Nice")]).headers["location"]
    with database.writing() as session:
        batches.get(session, edit.rpartition("/")[2]).base_version = 1

    said = {"edit": first, "version": "v1", "index": 1}
    assert [one["supersedes"] for one in api.http.get(f"{edit}/facts").json()["data"]] == [None, said, said]
    (last,) = api.http.get(f"{edit}/facts?limit=1&cursor={write_cursor('facts', 2)}").json()["data"]
    assert (last["index"], last["supersedes"]) == (2, said)
    assert [one["supersedes"] for one in api.http.get(f"/v1/edits/{first}/facts").json()["data"]] == [None, None]


def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    edit = api.edit([fact(number) for number in range(5)]).headers["location"]
    cursor = api.http.get(f"{edit}/facts?limit=3").json()["next_cursor"]

    answers = [api.http.get("/v1/edits", params={"cursor": text}) for text in (cursor, "%%%", "ZWRpdHM6eA")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(400, "invalid_cursor")] * 3


def test_an_unknown_edit_or_model_is_a_404(api: Api) -> None:
    for path in ("/v1/edits/edit_x", "/v1/edits/edit_x/facts"):
        answer = api.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "edit_not_found")
        assert "GET /v1/edits lists them" in answer.json()["detail"]
    assert api.http.post("/v1/edits/edit_x/cancel").status_code == 404
    assert api.http.get("/v1/edits?model=huge").json()["code"] == "model_not_found"


def started(api: Api, database: Database) -> tuple[str, TaskRow]:
    """A batch at the head of its line, and its task, which waits for a worker."""
    edit = api.edit().json()["id"]
    while api.http.get(f"/v1/edits/{edit}").json()["state"] == "queued":
        time.sleep(0.01)
    with database.reading() as session:
        (task,) = tasks.of_batch(session, edit, "plan")
    return edit, task


@BOTH_DATABASES
def test_what_waits_is_cancelled_at_once(api: Api, database: Database) -> None:
    first, task = started(api, database)
    waiting = api.edit([fact(1)]).json()["id"]
    for edit in (waiting, first):
        cancelled = api.http.post(f"/v1/edits/{edit}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert cancelled.json()["error"]["code"] == "cancelled"
    with database.writing() as session:
        assert tasks.acquire(session, task.id, "a worker that comes late", 60) is None


def test_what_a_worker_does_is_asked_to_stop(api: Api, database: Database) -> None:
    edit, task = started(api, database)
    with database.writing() as session:
        assert tasks.acquire(session, task.id, "a worker", 60) is not None

    asked = api.http.post(f"/v1/edits/{edit}/cancel")

    assert asked.json()["state"] == "planning"
    with database.reading() as session:
        assert batches.get(session, edit).cancel_requested


def test_cancelling_what_has_ended_changes_nothing(api: Api, database: Database) -> None:
    edit = api.edit().json()["id"]
    end(database, edit)

    assert api.http.post(f"/v1/edits/{edit}/cancel").json()["state"] == "failed"
