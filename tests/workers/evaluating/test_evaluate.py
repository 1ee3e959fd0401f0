"""Evaluations as tasks: any version, beside another where that was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from store.schema.tables import EvaluationRow
from store.work import evaluations, lifecycle
from store.work.kinds import EVALUATION
from tests.support.saved_models import fact, facts
from tests.workers.conftest import MODEL, During, Place
from workers import jobs


def evaluate(place: Place, version: int, compare_with: int | None = None, **fields: Any) -> str:
    """An evaluation as the front end keeps it; its id."""
    with place.database.writing() as session:
        row = evaluations.create(
            session,
            model=MODEL,
            version=version,
            compare_with=compare_with,
            metrics=fields.get("metrics", ["ES", "PS", "NS", "S"]),
            facts=fields.get("facts", facts(3)),
        )
        return row.id


def evaluation(place: Place, evaluation_id: str) -> EvaluationRow:
    with place.database.reading() as session:
        return lifecycle.get(session, EVALUATION, evaluation_id)


def rows_of(place: Place, evaluation_id: str) -> list[dict[str, Any]]:
    with place.database.reading() as session:
        return [json.loads(row) for row in evaluations.page(session, evaluation_id, 0, 1000)]


def test_two_versions_are_measured_side_by_side(place: Place) -> None:
    place.edit(facts(3))
    asked = evaluate(place, 1, compare_with=0, metrics=["ES", "PS", "NS", "S", "EM", "GA", "GE", "drift"])
    assert place.run() == ["evaluate"]

    found = evaluation(place, asked)
    assert (found.state, found.error) == ("succeeded", None)
    assert found.finished_at is not None
    assert found.metrics is not None
    assert list(found.metrics) == ["tiny@v1", "tiny@v0"]
    after, before = found.metrics["tiny@v1"], found.metrics["tiny@v0"]
    assert after["EM"] == {"value": 1.0, "n": 3, "low": 1.0, "high": 1.0}
    assert before["EM"]["value"] < 1
    assert before["drift"]["value"] == 1.0
    assert after["drift"]["value"] != 1.0
    rows = rows_of(place, asked)
    assert [row["fact"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["tiny@v1"]["prompt"]["said"]
        assert row["tiny@v1"]["prompt"]["new"] > row["tiny@v0"]["prompt"]["new"]


def test_the_base_alone_can_be_measured(place: Place) -> None:
    asked = evaluate(place, 0, compare_with=0, metrics=["NS"])
    place.run()
    found = evaluation(place, asked)
    assert found.metrics is not None
    assert found.metrics["tiny@v0"]["NS"]["n"] == 3


def test_what_cannot_be_measured_is_null_and_counts_nothing(place: Place) -> None:
    bare = [{"prompt": "{} speaks", "subject": "Ada Lovelace", "target_new": "French"}]
    asked = evaluate(place, 0, facts=bare, metrics=["ES", "PS", "NS", "S", "EM"])
    place.run()
    found = evaluation(place, asked)
    assert found.metrics is not None
    values = found.metrics["tiny@v0"]
    assert {name: values[name]["n"] for name in ("ES", "PS", "NS")} == {"ES": 0, "PS": 0, "NS": 0}
    assert [values[name]["value"] for name in ("ES", "PS", "NS", "S")] == [None] * 4
    assert values["EM"]["n"] == 1


def test_a_version_whose_blob_is_lost_fails_the_evaluation_plainly(place: Place) -> None:
    place.edit(facts(2))
    blob = place.version(1).blob
    assert blob is not None
    place.blobs.path(blob).unlink()
    place.worker("cold")
    asked = evaluate(place, 1)
    place.run()
    found = evaluation(place, asked)
    assert found.state == "failed"
    assert found.error is not None
    assert (found.error["code"], found.error["title"]) == ("blob_missing", "The evaluation cannot be made")
    assert blob in found.error["detail"]


def test_a_fact_that_is_too_long_fails_the_evaluation_and_is_named(place: Place) -> None:
    asked = evaluate(place, 0, facts=[fact(0), {**fact(1), "paraphrases": ["Lyon " * 200]}], metrics=["PS"])
    place.run()
    found = evaluation(place, asked)
    assert found.state == "failed"
    assert found.error is not None
    assert (found.error["code"], found.error["facts"]) == ("context_length_exceeded", [1])


def test_an_unforeseen_error_is_tried_once_more_and_then_told(place: Place) -> None:
    def fail() -> None:
        raise RuntimeError("internals")

    place.worker(measuring=During(place.loaded, fail, fail))
    asked = evaluate(place, 0)
    place.run()
    found = evaluation(place, asked)
    assert found.state == "failed"
    assert found.error is not None
    assert (found.error["code"], found.error["detail"]) == ("internal", "RuntimeError; the worker's log says more")


@pytest.mark.parametrize("number", [1, 2])
def test_a_stopping_worker_gives_an_evaluation_back(place: Place, number: int) -> None:
    stopping = place.worker("stopping")
    asked = evaluate(place, 0)
    (task,) = place.ready()

    def stop() -> None:
        stopping.stopping.set()

    measuring = During(place.loaded, *[lambda: None] * (number - 1), stop)
    place.worker("stopping", measuring=measuring, stopping=stopping.stopping)
    jobs.run(task.id)
    if number == 1:
        assert place.task(task.id).state == "pending"
    place.worker("heir")
    place.run()
    assert evaluation(place, asked).state == "succeeded"


@pytest.mark.parametrize("number", [1, 2])
def test_a_cancel_while_it_runs_holds(place: Place, number: int) -> None:
    """While the version is measured, or the one to compare it with."""

    def cancel() -> None:
        with place.database.writing() as session:
            lifecycle.cancel(session, lifecycle.get(session, EVALUATION, asked))

    place.edit(facts(2))
    place.worker("one", measuring=During(place.loaded, *[lambda: None] * (number - 1), cancel))
    asked = evaluate(place, 1, compare_with=0)
    place.run()
    found = evaluation(place, asked)
    assert (found.state, found.metrics, rows_of(place, asked), place.run()) == ("cancelled", None, [], [])


def test_one_that_was_cancelled_before_it_began_does_not_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = evaluate(place, 0)
    check = jobs.check

    def cancelled_meanwhile(*args: Any) -> None:
        with place.database.writing() as session:
            lifecycle.cancel(session, lifecycle.get(session, EVALUATION, asked))
        check(*args)

    monkeypatch.setattr(jobs, "check", cancelled_meanwhile)
    place.run()
    assert (evaluation(place, asked).state, place.run()) == ("cancelled", [])
