"""Accepting statistics, the corpora that they are made from, and reading what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.schema.database import Database
from store.work import lifecycle, statistics, tasks
from store.work.kinds import STATISTIC
from tests.service.conftest import MODEL, N_LAYERS, Api
from tests.service.evaluations.test_endpoints import all_tasks

LAYER = {"layer": 1, "tokens": 160, "corpus": "self-sampled", "shrinkage": 0.0, "condition_number": 1e5}


def ask(api: Api, **fields: Any) -> Any:
    return api.http.post("/v1/statistics", json={"model": MODEL, **fields})


def test_what_edits_use_is_the_default_and_a_task_makes_it(api: Api, database: Database) -> None:
    answer = ask(api)

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/statistics/{job['id']}"
    assert (job["state"], job["model"], job["layers"]) == ("queued", MODEL, [N_LAYERS // 4])
    assert (job["corpus"], job["tokens"], job["statistics"]) == ("self", None, None)
    (task,) = all_tasks(database)
    assert (task.kind, task.queue, task.statistic_id) == ("statistic", f"values:{MODEL}", job["id"])
    assert api.http.get(answer.headers["location"]).json() == job


def test_layers_corpus_and_tokens_can_be_chosen(serve: Callable[..., Api], model: str, tmp_path: Path) -> None:
    corpora = {
        "news": f"{tmp_path}/secret/news.jsonl",
        "wiki": "hf://datasets/Salesforce/wikitext@c0ffee",
        "rome": f"moments:{tmp_path}/secret",
    }
    api = serve(corpora=corpora, corpus="news", corpus_tokens=900)

    by_default, chosen, other = ask(api), ask(api, layers=[3, 0], corpus="wiki", tokens=70), ask(api, corpus="self")
    assert (by_default.json()["corpus"], by_default.json()["tokens"]) == ("news", 900)
    assert [chosen.json()[name] for name in ("layers", "corpus", "tokens")] == [[0, 3], "wiki", 70]
    assert (other.json()["corpus"], other.json()["tokens"]) == ("self", None)

    listed = api.http.get("/v1/corpora")
    assert listed.json()["data"] == [
        {"name": "self", "kind": "self-sampled", "data_set": None, "default": False},
        {"name": "news", "kind": "file", "data_set": None, "default": True},
        {"name": "wiki", "kind": "data_set", "data_set": "Salesforce/wikitext@c0ffee", "default": False},
        {"name": "rome", "kind": "moments", "data_set": None, "default": False},
    ]
    assert "secret" not in listed.text + by_default.text


def test_what_has_not_ended_can_be_cancelled_and_no_worker_takes_it_up(api: Api, database: Database) -> None:
    where = ask(api).headers["location"]
    (task,) = all_tasks(database)

    cancelled = api.http.post(f"{where}/cancel").json()

    assert (cancelled["state"], cancelled["error"]["code"]) == ("cancelled", "cancelled")
    assert cancelled["finished_at"] is not None
    with database.writing() as session:
        assert tasks.acquire(session, task.id, "worker", 15) is None
    assert api.http.post(f"{where}/cancel").json() == cancelled == api.http.get(where).json()
    entries = api.http.get("/v1/audit").json()["data"]
    assert [entry["action"] for entry in entries][:2] == ["statistic.cancelled", "statistic.accepted"]


def test_what_has_ended_is_not_cancelled(api: Api, database: Database) -> None:
    job = ask(api).json()
    with database.writing() as session:
        report = {"fingerprint": "f" * 64, "seconds": 1.5, "layers": [LAYER]}
        statistics.finish(lifecycle.get(session, STATISTIC, job["id"]), report=report)
    assert api.http.post(f"/v1/statistics/{job['id']}/cancel").json()["state"] == "succeeded"


def test_its_report_is_told_and_the_list_is_paged(api: Api, database: Database) -> None:
    asked = [ask(api, layers=[number]).json()["id"] for number in range(3)]
    with database.writing() as session:
        row = lifecycle.get(session, STATISTIC, asked[0])
        statistics.finish(row, report={"fingerprint": "f" * 64, "seconds": 1.5, "layers": [LAYER]})
        failed = {"code": "corpus_invalid", "title": "No", "detail": "the file is gone", "facts": []}
        lifecycle.end_with_error(session, lifecycle.get(session, STATISTIC, asked[1]), failed)

    first = api.http.get("/v1/statistics", params={"limit": 2}).json()
    rest = api.http.get("/v1/statistics", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [job["id"] for job in first["data"] + rest["data"]] == asked[::-1]
    assert rest["next_cursor"] is None
    done, broken = rest["data"][0], first["data"][1]
    assert (done["state"], done["statistics"], done["seconds"]) == ("succeeded", [LAYER], 1.5)
    assert (broken["state"], broken["error"]["detail"], broken["statistics"]) == ("failed", "the file is gone", None)
    assert api.http.get("/v1/statistics", params={"model": MODEL}).json()["data"][0]["id"] == asked[2]


@pytest.mark.parametrize(
    ("fields", "status", "loc", "says"),
    [
        ({"corpus": "wikki"}, 422, "corpus", '"wikki" is not configured; known: self'),
        ({"layers": [0, N_LAYERS]}, 422, "layers[1]", f"is {N_LAYERS}; the model has layers 0 to {N_LAYERS - 1}"),
        ({"layers": [1, 1]}, 422, "layers[1]", "1 is named twice"),
        ({"layers": []}, 422, "layers", "at least 1"),
        ({"layers": ["a"]}, 422, "layers[0]", "must be a whole number"),
        ({"tokens": 0}, 422, "tokens", "is 0; it must be at least 1"),
        ({"path": "/etc/passwd"}, 422, "path", "known: model, layers, corpus, tokens"),
        ({"model": None}, 422, "model", "must be text"),
        ({"model": "huge"}, 404, None, "known models"),
        ({"model": f"{MODEL}@v0"}, 404, None, "is not a model's NAME"),
    ],
)
def test_refusals_name_the_field_the_value_and_what_is_known(
    api: Api, database: Database, fields: dict[str, Any], status: int, loc: str | None, says: str
) -> None:
    answer = ask(api, **fields)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert loc is None or [error["loc"] for error in answer.json()["errors"]] == [loc]
    assert all_tasks(database) == []


def test_before_a_worker_has_told_what_the_model_is_it_will_choose_the_layers(
    serve: Callable[..., Api], unknown_model: str
) -> None:
    api = serve()
    assert ask(api).json()["layers"] is None
    assert ask(api, layers=[700]).json()["layers"] == [700]


def test_only_so_many_wait(serve: Callable[..., Api], model: str) -> None:
    api = serve(max_queued_batches=1)
    assert ask(api).status_code == 202
    answer = ask(api)
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")


def test_unknown_ids_and_cursors_of_other_lists_are_refused(api: Api) -> None:
    assert api.http.get("/v1/statistics/stat_x").json()["code"] == "statistic_not_found"
    assert api.http.get("/v1/statistics", params={"cursor": "cm93czox"}).json()["code"] == "invalid_cursor"


def test_one_idempotency_key_is_one_statistic(api: Api, database: Database) -> None:
    key = {"Idempotency-Key": "k-1"}
    first, again = (api.http.post("/v1/statistics", json={"model": MODEL}, headers=key) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    other = api.http.post("/v1/statistics", json={"model": MODEL, "layers": [0]}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(all_tasks(database)) == 1
