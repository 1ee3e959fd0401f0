"""A lineage as a series, whether it wears, and when its facts were measured."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from store.lineage import fact_readings
from store.lineage.fact_readings import FactReadings
from store.schema.database import Database
from store.schema.tables import VersionRow
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES

WORN = {
    "before": {},
    "after": {"ES": {"value": 1.0, "n": 2}},
    "retained": {
        "before": {"EM": {"value": 1.0, "n": 2}, "GA": {"value": 1.0, "n": 2}},
        "after": {"EM": {"value": 0.5, "n": 2}, "GA": {"value": 0.25, "n": 2}},
    },
    "drift": {"value": 1.3, "parent": 1.2, "n": 500},
    "layers": [
        {
            "layer": 1,
            "mu_asked": 1.0,
            "mu_used": 1.0,
            "condition_number": 2.0,
            "memorization_error": 0.1,
            "preservation_cost": 0.1,
            "relative_norm": 0.25,
            "rank": 2,
        }
    ],
    "warnings": [{"code": "line_worn", "detail": "the line wears", "facts": []}],
}


@pytest.fixture
def line(api: Api, database: Database) -> list[str]:
    """v1, and v2 with which the line wears; their edits."""
    edits = [publish(api, database), publish(api, database)]
    with database.writing() as session:
        row = session.get(VersionRow, (MODEL, 2))
        assert row is not None
        row.metrics, row.facts_in_force = WORN, 2
    return edits


def lineage(api: Api, **query: Any) -> httpx.Response:
    return api.http.get(f"/v1/models/{MODEL}/lineage", params=query)


def test_the_series_goes_from_the_oldest_on(api: Api, line: list[str]) -> None:
    answer = lineage(api, of="latest").json()
    assert (answer["of"], answer["wear"], answer["next_cursor"]) == ("v2", "worn", None)
    first, second = answer["data"]
    assert (first["version"], first["parent"], first["wear"], first["retained"]) == ("v1", "v0", "ok", None)
    created = second.pop("created_at")
    assert created > first["created_at"]
    assert second == {
        "version": "v2",
        "parent": "v1",
        "kind": "edit",
        "facts": 2,
        "facts_in_force": 2,
        "drift": 1.3,
        "drift_parent": 1.2,
        "retained": 0.5,
        "retained_before": 1.0,
        "retained_facts": 2,
        "relative_norms": {"1": 0.25},
        "bytes": 1234,
        "wear": "worn",
        "aliases": ["latest"],
    }


def test_the_series_is_paged_and_is_that_of_the_version_asked_for(api: Api, line: list[str]) -> None:
    first = lineage(api, limit=1).json()
    rest = lineage(api, limit=1, cursor=first["next_cursor"]).json()
    assert [one["version"] for one in first["data"] + rest["data"]] == ["v1", "v2"]
    assert rest["next_cursor"] is None
    assert [one["version"] for one in lineage(api, of="v1").json()["data"]] == ["v1"]
    assert lineage(api, of="v1").json()["wear"] == "ok"
    assert lineage(api, of="v0").json()["data"] == []
    assert lineage(api, of="v9").status_code == 404
    assert lineage(api, cursor="nonsense").status_code == 400


def test_versions_models_and_metrics_say_that_a_line_wears(api: Api, line: list[str]) -> None:
    assert api.http.get(f"/v1/models/{MODEL}/versions/v1").json()["wear"] == "ok"
    assert api.http.get(f"/v1/models/{MODEL}/versions/v2").json()["wear"] == "worn"
    for name, wear in ((MODEL, "worn"), (f"{MODEL}@latest", "worn"), (f"{MODEL}@v2", "worn"), (f"{MODEL}@v1", "ok")):
        assert api.http.get(f"/v1/models/{name}").json()["wear"] == wear
    exposed = api.http.get("/metrics").text
    assert f'emmetd_line_worn{{alias="latest",model="{MODEL}"}} 1.0' in exposed
    for metric, value in (("retained_EM", 0.5), ("retained_GA", 0.25), ("drift", 1.3), ("drift_parent", 1.2)):
        assert (
            f'emmetd_version_metric_ratio{{alias="latest",metric="{metric}",model="{MODEL}",version="v2"}} {value}'
            in exposed
        )


def test_each_fact_says_when_it_was_measured_last(api: Api, database: Database, line: list[str]) -> None:
    with database.writing() as session:
        fact_readings.keep(session, MODEL, 1, [FactReadings(line[0], 0, {}, {"EM": 1.0})])
        fact_readings.keep(session, MODEL, 2, [FactReadings(line[0], 0, {"EM": 1.0}, {"EM": 0.0, "GA": 0.0})])
    facts = api.http.get(f"/v1/models/{MODEL}/versions/v2/facts?state=all").json()["data"]
    assert [one["measured"] for one in facts] == [{"version": "v2", "EM": 0.0, "GA": 0.0}, None, None, None]
    facts = api.http.get(f"/v1/models/{MODEL}/versions/v1/facts").json()["data"]
    assert [one["measured"] for one in facts] == [{"version": "v1", "EM": 1.0, "GA": None}, None]


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"budget": {"drift": 1.25}}, 422, "drift of v2 against the base is 1.3 already"),
        ({"budget": {"drift": 1.4}}, 202, None),
        ({}, 202, None),
        ({"budget": {"drift": 0.5}}, 422, "budget.drift"),
        ({"budget": {"norm": 2}}, 422, "budget.norm"),
        ({"thresholds": {"retained": 0.02}}, 202, None),
    ],
)
def test_a_budget_that_the_line_has_used_is_refused(
    api: Api, line: list[str], fields: dict[str, Any], status: int, says: str | None
) -> None:
    answer = api.edit(**fields)
    assert answer.status_code == status, answer.text
    if says is not None:
        assert says in answer.text
    if status == 202:
        assert answer.json()["budget"] == {"drift": 1.5, **fields.get("budget", {})}


def test_a_drift_threshold_above_the_default_budget_raises_it(api: Api) -> None:
    assert api.edit(thresholds={"drift": 2.0}).json()["budget"] == {"drift": 2.0}
    assert api.edit(thresholds={"drift": 1.1}).json()["budget"] == {"drift": 1.5}
