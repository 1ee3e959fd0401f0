"""Accepting evaluations and reading what came of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from editing.metrics import METRICS
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.upkeep import deletion
from store.work import evaluations, lifecycle
from store.work.evaluations import MeasuredFact
from store.work.kinds import EVALUATION
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import CONTEXT_LENGTH, MODEL, Api, fact
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES

NAME = f"{MODEL}@v0"
READ = {"metrics": {"ES": 1.0}}


def evaluate(api: Api, **fields: Any) -> Any:
    return api.http.post("/v1/evaluations", json={"model": MODEL, "facts": [fact()], **fields})


def measured(number: int) -> MeasuredFact:
    """As a worker keeps it."""
    return MeasuredFact(number, {NAME: {"ES": 1.0}}, {NAME: READ})


def all_tasks(database: Database) -> list[TaskRow]:
    """Those that are or were to run."""
    with database.reading() as session:
        return list(session.scalars(select(TaskRow).where(TaskRow.state != "withdrawn")))


def test_an_evaluation_pins_its_versions_and_has_a_task(api: Api, database: Database) -> None:
    answer = evaluate(api, metrics=["ES", "drift", "ES"], compare_with="latest")

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/evaluations/{job['id']}"
    assert (job["state"], job["model"], job["compare_with"]) == ("queued", f"{MODEL}@v0", f"{MODEL}@v0")
    assert (job["requested_metrics"], job["n_facts"], job["metrics"], job["facts"]) == (["ES", "drift"], 1, None, [])
    (task,) = all_tasks(database)
    assert (task.kind, task.queue, task.evaluation_id) == ("evaluate", f"evaluate:{MODEL}", job["id"])
    assert api.http.get(answer.headers["location"]).json() == job


def test_its_rows_are_paged(api: Api, database: Database) -> None:
    location = evaluate(api, facts=[fact(number) for number in range(5)]).headers["location"]
    with database.writing() as session:
        row = lifecycle.get(session, EVALUATION, location.rpartition("/")[2])
        evaluations.keep(session, row.id, [measured(number) for number in range(5)])
        evaluations.finish(row, metrics={f"{MODEL}@v0": {"ES": {"value": 0.5, "n": 5}}})

    first = api.http.get(f"{location}?limit=3").json()
    rest = api.http.get(location, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert first["state"] == "succeeded"
    assert first["metrics"] == {f"{MODEL}@v0": {"ES": {"value": 0.5, "n": 5, "low": None, "high": None}}}
    assert first["facts"] + rest["facts"] == [{"fact": number, NAME: READ} for number in range(5)]
    assert rest["next_cursor"] is None


def test_what_could_not_be_measured_is_warned_of(api: Api, database: Database) -> None:
    wanted = ["GA_chat", "portability", "GA"]
    facts = [fact(portability=[{"prompt": "Rome is", "target": "Lyon"}], locality=[{"prompt": "Rome"}])]
    location = evaluate(api, metrics=wanted, facts=facts).headers["location"]
    assert api.http.get(location).json()["warnings"] == []
    nothing, something = {"value": None, "n": 0}, {"value": 1.0, "n": 1}
    with database.writing() as session:
        row = lifecycle.get(session, EVALUATION, location.rpartition("/")[2])
        found = {"GA_chat": nothing, "portability": nothing, "GA": something}
        evaluations.finish(row, metrics={f"{MODEL}@v0": found})

    warnings = api.http.get(location).json()["warnings"]
    assert [warning["code"] for warning in warnings] == ["not_measured"] * 2
    assert "GA_chat was measured on no fact (n is 0): the model has no chat template" in warnings[0]["detail"]
    assert "no fact has portability questions" in warnings[1]["detail"]


@pytest.mark.parametrize(
    ("fields", "status", "loc", "says"),
    [
        ({"facts": []}, 422, "facts", "give at least one"),
        ({"facts": [fact(subject=3)]}, 422, "facts[0].subject", "must be text"),
        ({"facts": [fact(prompt="{}" + "j" * 80)]}, 422, "facts[0].prompt", f"at most {CONTEXT_LENGTH}"),
        ({"metrics": ["XS"]}, 422, "metrics[0]", "known: 'ES'"),
        ({"metrics": []}, 422, "metrics", "at least 1"),
        ({"metrics": ["ES"] * (len(METRICS) + 1)}, 422, "metrics", f"at most {len(METRICS)} are taken; leave some out"),
        ({"metric": ["ES"]}, 422, "metric", "known: model, facts, facts_of"),
        ({"compare_with": "not a version"}, 422, "compare_with", "write NAME"),
        ({"compare_with": "other@v1"}, 422, "compare_with", "of another model"),
        ({"model": "Not A Model"}, 422, "model", "write NAME"),
        ({"model": "huge"}, 404, None, "known models: tiny"),
        ({"model": f"{MODEL}@v3"}, 404, None, "v0 to v0"),
        ({"compare_with": "v3"}, 404, None, "v0 to v0"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_queued(
    api: Api, database: Database, fields: dict[str, Any], status: int, loc: str | None, says: str
) -> None:
    answer = evaluate(api, **fields)

    problem = answer.json()
    assert answer.status_code == status
    assert says in problem["detail"]
    if loc is not None:
        assert problem["errors"][0]["loc"] == loc
    assert all_tasks(database) == []


def test_an_unknown_evaluation_is_a_404(api: Api) -> None:
    answer = api.http.get("/v1/evaluations/eval_x")

    assert (answer.status_code, answer.json()["code"]) == (404, "evaluation_not_found")


def test_they_are_listed_newest_first_without_their_rows(api: Api, database: Database) -> None:
    asked = [evaluate(api).json()["id"] for _ in range(3)]
    with database.writing() as session:
        row = lifecycle.get(session, EVALUATION, asked[0])
        evaluations.finish(row, metrics={f"{MODEL}@v0": {"ES": {"value": 0.5, "n": 1}}})

    first = api.http.get("/v1/evaluations", params={"limit": 2}).json()
    rest = api.http.get("/v1/evaluations", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [job["id"] for job in first["data"] + rest["data"]] == asked[::-1]
    assert rest["next_cursor"] is None
    assert (rest["data"][0]["state"], rest["data"][0]["metrics"][f"{MODEL}@v0"]["ES"]["n"]) == ("succeeded", 1)
    assert "facts" not in rest["data"][0]
    assert api.http.get("/v1/evaluations", params={"model": "huge"}).json()["code"] == "model_not_found"


def test_a_cancelled_one_ends_at_once_and_leaves_no_task(api: Api, database: Database) -> None:
    location = evaluate(api).headers["location"]

    answer = api.http.post(f"{location}/cancel")

    assert (answer.status_code, answer.json()["state"], answer.json()["error"]["code"]) == (
        200,
        "cancelled",
        "cancelled",
    )
    assert answer.json()["finished_at"]
    assert api.http.get(location).json() == answer.json()
    assert all_tasks(database) == []
    assert api.http.post("/v1/evaluations/eval_x/cancel").json()["code"] == "evaluation_not_found"


def test_what_has_ended_stays_as_it_is(api: Api, database: Database) -> None:
    location = evaluate(api).headers["location"]
    with database.writing() as session:
        evaluations.finish(lifecycle.get(session, EVALUATION, location.rpartition("/")[2]), metrics={})

    assert api.http.post(f"{location}/cancel").json() == api.http.get(location).json()
    assert api.http.get(location).json()["state"] == "succeeded"


def test_what_is_measured_so_far_is_paged_while_it_runs(api: Api, database: Database) -> None:
    location = evaluate(api, facts=[fact(number) for number in range(5)]).headers["location"]
    with database.writing() as session:
        row = lifecycle.get(session, EVALUATION, location.rpartition("/")[2])
        row.state = "running"
        evaluations.keep(session, row.id, [measured(number) for number in range(3)])

    first = api.http.get(f"{location}?limit=2").json()
    rest = api.http.get(location, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert (first["state"], first["metrics"]) == ("running", None)
    assert [one["fact"] for one in first["facts"] + rest["facts"]] == [0, 1, 2]
    assert rest["next_cursor"] is None


def test_several_versions_are_measured_in_one_evaluation(api: Api, database: Database) -> None:
    for number in range(3):
        publish(api, database, facts=number + 1)
    job = evaluate(api, model=f"{MODEL}@v3", compare_with=["v0", "latest", f"{MODEL}@v1"]).json()
    assert job["compare_with"] == f"{MODEL}@v0"
    assert job["versions"] == [f"{MODEL}@v3", f"{MODEL}@v0", f"{MODEL}@v1"], "each once"
    assert evaluate(api, compare_with=[]).json()["versions"] == [f"{MODEL}@v3"]
    for wrong, says in ((["v0", "v9"], "no version v9"), (["v0"] * 8, "at most 7"), (["v0", 3], "must be text")):
        answer = evaluate(api, compare_with=wrong)
        assert answer.status_code in (404, 422)
        assert says in answer.text
    with database.reading() as session:
        assert f"evaluation {job['id']}" in deletion.needed_by(session, MODEL, 1)


def test_one_idempotency_key_is_one_evaluation(api: Api, database: Database) -> None:
    key = {"Idempotency-Key": "k-1"}
    body = {"model": MODEL, "facts": [fact()]}
    first, again = (api.http.post("/v1/evaluations", json=body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    other = api.http.post("/v1/evaluations", json={**body, "metrics": ["ES"]}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(all_tasks(database)) == 1
    assert evaluate(api).json()["id"] != first.json()["id"]


def test_a_judge_is_asked_only_where_one_is_configured(serve: Any, model: str) -> None:
    without = evaluate(serve(), judge=True, metrics=["GA"])
    assert (without.status_code, without.json()["errors"][0]["loc"]) == (422, "judge")
    assert "EMMETD_JUDGE_URL" in without.json()["detail"]
    api = serve(judge_url="http://127.0.0.1:9/v1", judge_model="judge-1")
    silent = evaluate(api, judge=True, metrics=["ES"])
    assert "add GA_chat or GA to metrics" in silent.json()["detail"]
    job = evaluate(api, judge=True, metrics=["GA"]).json()
    assert (job["judge"]["model"], job["judge"]["versions"]) == ("judge-1", None)
    assert "{said}" in job["judge"]["prompt"]
    assert evaluate(api, metrics=["GA"]).json()["judge"] is None
