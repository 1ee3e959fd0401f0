"""Downstream results that are kept with a version, and aliases that ask for them before they are moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES

ALIAS = f"/v1/models/{MODEL}/aliases/production"
GUARD = {"downstream": {"quiz": {"acc": {"at_least": 0.5, "most_fall": 0.02}}}}


def results(value: float = 0.6, **fields: Any) -> dict[str, Any]:
    task = {"n": 8, "version": "1.0", "measures": {"acc": {"value": value, "stderr": 0.1}}}
    return {"harness": {"name": "lm-eval", "version": "0.4.13"}, "results": {"quiz": task}, **fields}


def keep(api: Api, version: str, **fields: Any) -> Any:
    return api.http.post(f"/v1/models/{MODEL}/versions/{version}/downstream", json=results(**fields))


def move(api: Api, version: str, **fields: Any) -> Any:
    return api.http.put(ALIAS, json={"version": version, **fields})


def test_results_are_kept_with_their_version(api: Api, database: Database) -> None:
    publish(api, database)
    first = keep(api, "v1", value=0.5, settings={"num_fewshot": 0, "limit": 8})
    assert first.status_code == 201, first.text
    assert first.json()["version"] == "v1"
    second = keep(api, "latest").json()
    where = f"/v1/models/{MODEL}/versions/v1/downstream"
    page = api.http.get(where, params={"limit": 1}).json()
    rest = api.http.get(where, params={"cursor": page["next_cursor"]}).json()
    assert page["data"] + rest["data"] == [second, first.json()]
    assert first.json()["settings"] == {"num_fewshot": 0, "limit": 8}
    assert first.json()["results"]["quiz"]["measures"]["acc"]["value"] == 0.5
    assert api.http.get(f"/v1/models/{MODEL}/versions/v0/downstream").json() == {"data": [], "next_cursor": None}
    entry = api.http.get("/v1/audit").json()["data"][0]
    assert (entry["action"], entry["target"]) == ("downstream.kept", second["id"])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"results": {}}, "results"),
        ({"results": {"quiz": {"measures": {}}}}, "measures"),
        ({"results": {"quiz": {"measures": {"acc": {"value": "high"}}}}}, "must be a number"),
        ({"harness": {"name": "lm-eval"}}, "harness.version"),
        ({"settings": {"nested": {"a": 1}}}, "settings"),
        ({"more": 1}, "not known here"),
    ],
)
def test_results_of_a_wrong_shape_are_refused(api: Api, model: str, body: dict[str, Any], says: str) -> None:
    answer = api.http.post(f"/v1/models/{MODEL}/versions/v0/downstream", json={**results(), **body})
    assert answer.status_code == 422, answer.text
    assert says in answer.text


def test_a_guarded_alias_refuses_with_what_is_missing_and_then_accepts(api: Api, database: Database) -> None:
    publish(api, database)
    assert move(api, "v0", guard={}).json()["guard"] is None
    guarded = api.http.put(ALIAS, json={"guard": GUARD})
    assert (guarded.status_code, guarded.json()["version"]) == (200, "v0")
    assert guarded.json()["guard"]["downstream"]["quiz"]["acc"]["at_least"] == 0.5

    def refused(says: str) -> None:
        answer = move(api, "v1")
        assert (answer.status_code, answer.json()["code"]) == (409, "alias_guarded")
        assert says in answer.json()["detail"]
        assert api.http.get(f"/v1/models/{MODEL}/aliases").json()["data"][-1]["version"] == "v0"

    refused("task 'quiz' was not measured (emmetd evaluate tiny@v1 --tasks quiz)")
    keep(api, "v1", value=0.4)
    refused("quiz acc is 0.4, below 0.5")
    keep(api, "v1", value=0.6)
    refused("quiz acc of the base was not measured (emmetd evaluate tiny@v0 --tasks quiz)")
    keep(api, "v0", value=0.61, settings={"limit": 4})
    refused("by another harness or otherwise")
    keep(api, "v0", value=0.7)
    refused("quiz acc went from the base's 0.7 to 0.6, more than 0.02 worse")
    keep(api, "v0", value=0.61)
    assert move(api, "v1").json()["version"] == "v1"


def test_a_guard_may_bound_what_the_check_measured(api: Api, database: Database) -> None:
    publish(api, database)
    move(api, "v0")
    api.http.put(ALIAS, json={"guard": {"metrics": {"ES": 1.01, "drift": 9.0, "GA_chat": 0.5}}})
    said = move(api, "v1").json()["detail"]
    assert "ES is" in said
    assert "below its threshold 1.01" in said
    assert "GA_chat could not be measured" in said
    assert "drift" not in said
    api.http.put(ALIAS, json={"guard": {"metrics": {"ES": 0.1, "drift": 9.0}}})
    assert move(api, "v1").status_code == 200
    wrong = api.http.put(ALIAS, json={"guard": {"metrics": {"XS": 1}}})
    assert wrong.status_code == 422
    assert api.http.put(ALIAS, json={"guard": {"downstream": {"quiz": {"acc": {}}}}}).status_code == 422


def test_no_edit_moves_a_guarded_alias(api: Api, database: Database) -> None:
    publish(api, database)
    move(api, "v1")
    under_way = api.edit([fact(5)], model=f"{MODEL}@production").json()
    refused = api.http.put(ALIAS, json={"guard": GUARD})
    assert (refused.status_code, refused.json()["code"]) == (409, "alias_guarded")
    assert under_way["id"] in refused.json()["detail"]
    api.http.post(f"/v1/edits/{under_way['id']}/cancel")
    assert api.http.put(ALIAS, json={"guard": GUARD}).status_code == 200
    answer = api.edit([fact(6)], model=f"{MODEL}@production")
    assert (answer.status_code, answer.json()["code"]) == (409, "alias_guarded")
    assert f"{MODEL}@v1 as a branch" in answer.json()["detail"]
    assert api.edit([fact(6)], model=f"{MODEL}@production", dry_run=True).status_code == 202
    assert api.edit([fact(6)], model=f"{MODEL}@v1").status_code == 202
    latest = api.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"guard": GUARD})
    assert (latest.status_code, latest.json()["code"]) == (409, "alias_reserved")


def test_a_guard_stays_where_a_second_key_is_demanded_and_is_held_first(
    serve: Callable[..., Api], model: str, database: Database
) -> None:
    api = serve(api_key=SecretStr("secret"))
    api.http.headers["Authorization"] = "Bearer secret"
    publish(api, database)
    move(api, "v0")
    assert api.http.put(ALIAS, json={"guard": GUARD}).status_code == 200
    demanded = api.http.put(ALIAS, json={"approval": True})
    assert demanded.json().get("approval") is True, demanded.text
    asked = move(api, "v1")
    assert (asked.status_code, asked.json()["code"]) == (409, "alias_guarded")
    taken_away = api.http.put(ALIAS, json={"guard": {}})
    assert (taken_away.status_code, taken_away.json()["code"]) == (403, "alias_protected")
    keep(api, "v0", value=0.6)
    keep(api, "v1", value=0.6)
    waits = move(api, "v1")
    assert waits.status_code == 202, waits.text
    assert (waits.json()["version"], waits.json()["request"]["version"]) == ("v0", "v1")
