"""Evaluations of what a version says, instead of facts sent along."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from store.lineage.questions import REMOVED
from store.schema.database import Database
from store.schema.measurement_tables import EvaluationFactRow
from store.schema.tables import FactRow, VersionRow
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES


def evaluate(api: Api, **fields: Any) -> Any:
    return api.http.post("/v1/evaluations", json={"model": MODEL, **fields})


def kept(database: Database, job: dict[str, Any]) -> list[dict[str, Any]]:
    with database.reading() as session:
        query = select(EvaluationFactRow).where(EvaluationFactRow.evaluation_id == job["id"])
        rows = session.scalars(query.order_by(EvaluationFactRow.number))
        return [{**row.fact, "place": row.place} for row in rows]


def test_all_that_a_version_says_is_measured_with_its_place(api: Api, database: Database) -> None:
    publish(api, database, facts=3)
    later = publish(api, database, facts=1)
    job = evaluate(api, facts_of="latest").json()
    assert (job["state"], job["n_facts"], job["facts_of"], job["sample"], job["seed"]) == ("queued", 3, "v2", None, 0)
    facts = kept(database, job)
    assert [one["subject"] for one in facts] == ["Country 1", "Country 2", "Country 0"]
    assert facts[2]["place"] == {"edit": later, "version": "v2", "index": 0}


def test_a_sample_is_the_same_for_its_seed(api: Api, database: Database) -> None:
    publish(api, database, facts=30)
    first, again, other = (
        kept(database, evaluate(api, facts_of="v1", sample=8, seed=seed).json()) for seed in (1, 1, 2)
    )
    assert len(first) == 8
    assert first == again
    assert first != other


def test_drift_alone_needs_no_facts(api: Api) -> None:
    job = evaluate(api, metrics=["drift"])
    assert job.status_code == 202, job.text
    assert job.json()["n_facts"] == 0
    assert evaluate(api, metrics=["drift", "EM"]).status_code == 422
    assert evaluate(api).status_code == 422


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"facts_of": "v9"}, 404, "no version v9"),
        ({"facts_of": "other@v1"}, 422, "of another model"),
        ({"facts_of": "v0"}, 422, "says no facts"),
        ({"facts_of": "v1", "facts": [fact()]}, 422, "stands beside facts"),
        ({"sample": 3, "facts": [fact()]}, 422, "name that in facts_of"),
        ({"facts_of": "v1", "sample": 0}, 422, "sample"),
        ({"facts_of": "v1", "sample": 20000}, 422, "take a smaller sample"),
        ({"facts_of": 7}, 422, "facts_of"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_remedy(
    api: Api, database: Database, fields: dict[str, Any], status: int, says: str
) -> None:
    publish(api, database)
    answer = evaluate(api, **fields)
    assert answer.status_code == status, answer.text
    assert says in answer.text


def test_an_unavailable_version_and_removed_texts_are_refused_with_the_remedy(api: Api, database: Database) -> None:
    first, second = publish(api, database), publish(api, database)
    assert first != second
    with database.writing() as session:
        session.execute(update(VersionRow).where(VersionRow.number == 2).values(state="unavailable"))
    answer = evaluate(api, facts_of="v2")
    assert answer.status_code == 409
    assert answer.json()["code"] == "version_unavailable"
    assert "name another version" in answer.json()["detail"]
    with database.writing() as session:
        session.execute(update(VersionRow).where(VersionRow.number == 2).values(state="available"))
        texts = {"prompt": "[removed] {}", "subject": "x", "target_new": REMOVED}
        session.execute(update(FactRow).where(FactRow.batch_id == second).values(fact=texts))
    for fields in ({"facts_of": "v2"}, {"facts_of": "v2", "sample": 1}):
        answer = evaluate(api, **fields)
        assert answer.status_code == 409
        assert answer.json()["code"] == "facts_removed"
        assert "name a version before it" in answer.json()["detail"]
    assert evaluate(api, facts_of="v1").status_code == 202


def test_more_facts_than_are_taken_at_once_need_a_sample(serve: Any, model: str, database: Database) -> None:
    api = serve(max_facts=3)
    publish(api, database, facts=3)
    edit = api.edit([fact(9)]).json()
    assert edit["state"] == "queued"
    assert evaluate(api, facts_of="v1").status_code == 202
