"""Models, versions and aliases as clients see and move them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from api_schemas.references import ModelReference
from store.lineage import versions as lineage
from store.lineage.versions import NewVersion
from store.schema.database import Database
from store.work import batches
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import CONTEXT_LENGTH, MODEL, Api, fact

pytestmark = BOTH_DATABASES

METRICS = {
    "before": {"ES": {"value": 0.0, "n": 2}},
    "after": {"ES": {"value": 1.0, "n": 2, "low": 1.0, "high": 1.0}},
    "drift": {"value": 1.01, "n": 500},
    "layers": [],
    "seconds": {"values": 2.5},
}


def publish(api: Api, database: Database, facts: int = 2) -> str:
    """A batch of `facts` facts, as if a worker had published it; its id."""
    edit: str = api.edit([fact(number) for number in range(facts)], label="two").json()["id"]
    with database.writing() as session:
        row = batches.get(session, edit)
        row.base_version = lineage.resolve(session, ModelReference(MODEL, alias="latest")).number
        new = NewVersion(
            layers=[1],
            rank=facts,
            blob="b" * 64,
            matrix_blobs={"1": "c" * 64},
            delta_bytes=1000,
            matrix_bytes=234,
            matrix_hashes={"1": "a" * 64},
            provenance={},
            metrics=METRICS,
        )
        lineage.publish(session, row, new)
        batches.set_state(session, row, "succeeded")
    return edit


@pytest.fixture
def published(api: Api, database: Database) -> str:
    return publish(api, database)


def test_models_are_listed_as_openai_does(api: Api, published: str) -> None:
    listed = api.http.get("/v1/models").json()

    assert listed["object"] == "list"
    cards = {card["id"]: card for card in listed["data"]}
    assert list(cards) == [MODEL, f"{MODEL}@v0", f"{MODEL}@v1", f"{MODEL}@latest"]
    assert {card["object"] for card in listed["data"]} == {"model"}
    assert {card["root"] for card in listed["data"]} == {MODEL}
    assert cards[f"{MODEL}@v0"]["parent"] is None
    assert cards[f"{MODEL}@v1"]["parent"] == f"{MODEL}@v0"
    assert cards[f"{MODEL}@v1"]["aliases"] == ["latest"]
    assert cards[MODEL]["max_model_len"] == CONTEXT_LENGTH
    assert cards[MODEL]["state"] == "no worker"
    assert (cards[MODEL]["family"], cards[MODEL]["dtype"], cards[MODEL]["devices"]) == ("llama", "float32", [])
    assert "no worker of model 'tiny' is running" in cards[MODEL]["awaits"]


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}@v0", f"{MODEL}@v1", f"{MODEL}@latest"])
def test_every_listed_id_can_be_asked_for(api: Api, published: str, name: str) -> None:
    listed = {card["id"]: card for card in api.http.get("/v1/models").json()["data"]}

    assert api.http.get(f"/v1/models/{name}").json() == listed[name]


def test_versions_are_listed_newest_first_with_their_lineage(api: Api, published: str) -> None:
    page = api.http.get(f"/v1/models/{MODEL}/versions").json()

    newest, base = page["data"]
    assert page["next_cursor"] is None
    assert (base["version"], base["parent"], base["edit"], base["aliases"]) == ("v0", None, None, [])
    assert (newest["version"], newest["parent"], newest["edit"]) == ("v1", "v0", published)
    assert (newest["facts"], newest["total_facts"], newest["layers"], newest["rank"]) == (2, 2, [1], 2)
    assert (newest["sha256"], newest["bytes"], newest["aliases"]) == ("b" * 64, 1234, ["latest"])
    shown = api.http.get(f"/v1/models/{MODEL}/versions/v1").json()
    assert shown == {**newest, "bytes": {"delta": 1000, "matrices": 234}}
    assert newest["metrics"]["after"]["ES"] == {"value": 1.0, "n": 2, "low": 1.0, "high": 1.0}
    assert api.http.get(f"/v1/models/{MODEL}/versions/latest").json() == shown


def test_versions_are_paged(api: Api, database: Database) -> None:
    for _ in range(4):
        publish(api, database, facts=1)

    first = api.http.get(f"/v1/models/{MODEL}/versions?limit=3").json()
    rest = api.http.get(f"/v1/models/{MODEL}/versions", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [row["version"] for row in first["data"] + rest["data"]] == ["v4", "v3", "v2", "v1", "v0"]
    assert rest["next_cursor"] is None


def test_a_versions_facts_and_metrics(api: Api, published: str) -> None:
    facts = api.http.get(f"/v1/models/{MODEL}/versions/v1/facts").json()

    assert [(one["index"], one["subject"]) for one in facts["data"]] == [(0, "Country 0"), (1, "Country 1")]
    assert [(one["edit"], one["version"], one["state"]) for one in facts["data"]] == [(published, "v1", "in_force")] * 2
    assert api.http.get(f"/v1/models/{MODEL}/versions/v1/metrics").json()["drift"]["value"] == 1.01
    assert api.http.get(f"/v1/models/{MODEL}/versions/v0/facts").json()["data"] == []
    assert api.http.get(f"/v1/models/{MODEL}/versions/v0/metrics").json()["after"] == {}


def test_a_version_says_the_facts_of_its_whole_lineage(api: Api, database: Database, published: str) -> None:
    later = publish(api, database, facts=1)

    said = api.http.get(f"/v1/models/{MODEL}/versions/v2/facts").json()["data"]
    assert [(one["subject"], one["version"]) for one in said] == [("Country 1", "v1"), ("Country 0", "v2")]
    first = {"edit": published, "version": "v1", "index": 0}
    assert (said[1]["supersedes"], said[1]["superseded_by"], said[1]["reverted_by"]) == (first, None, None)
    page = api.http.get(f"/v1/models/{MODEL}/versions/v2/facts?state=all&limit=2").json()
    assert [one["state"] for one in page["data"]] == ["superseded", "in_force"]
    assert page["data"][0]["superseded_by"] == {"edit": later, "version": "v2", "index": 0}
    rest = api.http.get(
        f"/v1/models/{MODEL}/versions/v2/facts", params={"state": "all", "cursor": page["next_cursor"]}
    ).json()
    assert [one["version"] for one in rest["data"]] == ["v2"]


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("huge", "model_not_found", "known models: tiny"),
        ("huge/versions", "model_not_found", "known models: tiny"),
        ("tiny@v7", "version_not_found", "v0 to v1"),
        ("tiny@best", "version_not_found", "aliases: latest"),
        ("tiny/versions/v7", "version_not_found", "v0 to v1"),
        ("tiny/versions/best", "version_not_found", "aliases: latest"),
        ("tiny/versions/v7/facts", "version_not_found", "v0 to v1"),
        ("tiny/versions/v7/metrics", "version_not_found", "v0 to v1"),
        ("tiny@v1/versions", "version_not_found", "write /v1/models/tiny/versions"),
    ],
)
def test_what_does_not_exist_is_a_404_naming_what_does(
    api: Api, published: str, path: str, code: str, says: str
) -> None:
    answer = api.http.get(f"/v1/models/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert says in answer.json()["detail"]


def test_rollback_is_moving_latest(api: Api, published: str) -> None:
    moved = api.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": "v0", "expected": "v1"})

    assert (moved.status_code, moved.json()["version"]) == (200, "v0")
    assert api.http.get(f"/v1/models/{MODEL}/versions/latest").json()["version"] == "v0"
    assert api.http.get(f"/v1/models/{MODEL}/versions/v1").json()["aliases"] == []


def test_an_alias_moves_only_from_where_it_is_expected(api: Api, published: str) -> None:
    answer = api.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": "v0", "expected": "v0"})

    assert (answer.status_code, answer.json()["code"]) == (409, "alias_moved")
    assert "points at v1, not at v0" in answer.json()["detail"]
    assert api.http.get(f"/v1/models/{MODEL}/versions/latest").json()["version"] == "v1"


def test_why_an_alias_moved_is_in_the_audit_log(api: Api, published: str) -> None:
    path = f"/v1/models/{MODEL}/aliases/production"
    moved = api.http.put(path, json={"version": "v1", "reason": "checked by the editors"})
    assert moved.status_code == 200

    (entry,) = api.http.get("/v1/audit?action=alias.moved&limit=1").json()["data"]

    assert entry["details"]["reason"] == "checked by the editors"
    assert api.http.put(path, json={"version": "v0", "reason": "x" * 501}).status_code == 422


def test_a_model_has_only_so_many_aliases(api: Api, published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.lineage.aliases.MOST_ALIASES", 3)

    def put(alias: str, version: str) -> httpx.Response:
        return api.http.put(f"/v1/models/{MODEL}/aliases/{alias}", json={"version": version})

    assert [put(alias, "v0").status_code for alias in ("one", "two")] == [200, 200]
    answer = put("three", "v0")
    assert (answer.status_code, answer.json()["code"]) == (409, "alias_limit")
    assert "has 3 aliases, as many as it may have; delete one that nobody uses" in answer.json()["detail"]
    assert put("two", "v1").status_code == 200, "those that are there still move"
    assert api.http.delete(f"/v1/models/{MODEL}/aliases/one").status_code == 204
    assert put("three", "v0").status_code == 200


def test_aliases_are_made_listed_and_deleted(api: Api, published: str) -> None:
    assert api.http.put(f"/v1/models/{MODEL}/aliases/production", json={"version": "v0"}).status_code == 200

    listed = api.http.get(f"/v1/models/{MODEL}/aliases").json()["data"]
    assert [(row["alias"], row["version"]) for row in listed] == [("latest", "v1"), ("production", "v0")]
    assert api.http.delete(f"/v1/models/{MODEL}/aliases/production").status_code == 204
    gone = api.http.delete(f"/v1/models/{MODEL}/aliases/production")
    assert (gone.status_code, gone.json()["code"]) == (404, "version_not_found")


@pytest.mark.parametrize(
    ("alias", "body", "status", "code", "says"),
    [
        ("v7", {"version": "v0"}, 409, "alias_reserved", "not the form of a version"),
        ("Best", {"version": "v0"}, 409, "alias_reserved", "lower-case letters"),
        ("best", {"version": "v9"}, 404, "version_not_found", "v0 to v1"),
        ("best", {"version": "one"}, 422, "invalid_fields", "version"),
        ("best", {"verson": "v0"}, 422, "invalid_fields", "known: version, expected, protected"),
        ("best", {}, 422, "invalid_fields", "says nothing to change"),
        ("best", {"version": "v0", "protected": True}, 403, "alias_protected", "only an administrator"),
        ("best", {"version": "v0", "expected": "v1"}, 409, "alias_moved", "does not exist"),
    ],
)
def test_a_wrong_alias_is_refused(
    api: Api, published: str, alias: str, body: dict[str, str], status: int, code: str, says: str
) -> None:
    answer = api.http.put(f"/v1/models/{MODEL}/aliases/{alias}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.text


def test_with_an_api_key_aliases_can_be_protected(serve: Callable[..., Api], model: str, database: Database) -> None:
    api = serve(api_key=SecretStr("secret"))
    api.http.headers["Authorization"] = "Bearer secret"
    publish(api, database)
    path = f"/v1/models/{MODEL}/aliases/production"
    assert api.http.put(path, json={"version": "v1", "protected": True}).json()["protected"] is True
    assert api.http.put(path, json={"version": "v0"}).json() | {"updated_at": ""} == {
        "model": MODEL,
        "alias": "production",
        "version": "v0",
        "protected": True,
        "approval": False,
        "request": None,
        "guard": None,
        "updated_at": "",
    }
    keyless = serve()
    for refused in (
        keyless.http.put(path, json={"version": "v1"}),
        keyless.http.put(path, json={"protected": False}),
        keyless.http.delete(path),
        keyless.edit(model=f"{MODEL}@production"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "alias_protected")
    assert api.edit(model=f"{MODEL}@production").status_code == 202
    assert api.http.delete(path).status_code == 204


def test_latest_cannot_be_deleted(api: Api) -> None:
    answer = api.http.delete(f"/v1/models/{MODEL}/aliases/latest")

    assert (answer.status_code, answer.json()["code"]) == (409, "alias_reserved")


def test_algorithms_show_settings_with_range_and_default(api: Api) -> None:
    listed = api.http.get("/v1/algorithms").json()

    assert listed["model"] is None
    rows = {row["name"]: row for row in listed["data"]}
    assert rows["rome"]["batch_limit"] == 1
    assert rows["emmet"]["batch_limit"] is None
    assert rows["emmet"]["paper"].startswith("https://")
    settings = {row["name"]: row for row in rows["emmet"]["settings"]}
    assert (settings["steps"]["type"], settings["steps"]["minimum"], settings["steps"]["maximum"]) == (
        "integer",
        1,
        500,
    )
    assert settings["steps"]["default"] == 25
    assert settings["lr"]["exclusive_minimum"] == 0
    assert settings["kl_direction"]["choices"] == ["forward", "reverse"]
    assert settings["layers"]["type"] == "list of integers"
    assert settings["layers"]["default"] is None
    assert set(settings["preset"]["choices"]) == set(rows["emmet"]["presets"])
    assert {row["name"]: row for row in rows["memit"]["settings"]}["mu_relative"]["default"] == 1.0


def test_algorithms_recommend_settings_for_a_model(api: Api) -> None:
    listed = api.http.get(f"/v1/algorithms?model={MODEL}@v0").json()

    assert listed["model"] == MODEL
    settings = {row["name"]: row for row in listed["data"][0]["settings"]}
    assert settings["layers"]["recommended"] == [1]
    assert api.http.get("/v1/algorithms?model=huge").status_code == 404
