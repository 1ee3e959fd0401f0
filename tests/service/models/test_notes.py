"""Descriptions and tags: changed beside versions that stay as they are, found again, and written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from store.access import audit
from store.lineage import versions as lineage
from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES

VERSIONS = f"/v1/models/{MODEL}/versions"


@pytest.fixture
def describe(api: Api, database: Database) -> Callable[..., httpx.Response]:
    """Change the notes of v1 to v3, which are published."""
    for _ in range(3):
        publish(api, database)
    return lambda version, body, **headers: api.http.patch(f"{VERSIONS}/{version}", json=body, headers=headers)


Describe = Callable[..., httpx.Response]


def listed(api: Api, **query: str) -> list[str]:
    answer = api.http.get(VERSIONS, params=query)
    assert answer.status_code == 200, answer.text
    return [one["version"] for one in answer.json()["data"]]


def test_a_version_is_described_and_stays_what_it_was(api: Api, describe: Describe) -> None:
    before = api.http.get(f"{VERSIONS}/v1").json()
    assert (before["description"], before["tags"]) == (None, [])

    answer = describe("v1", {"description": "Read by Łucja", "tags": ["legal", "a:b", "legal"]})

    assert answer.status_code == 200, answer.text
    changed = {"description": "Read by Łucja", "tags": ["a:b", "legal"]}
    assert answer.json() == {**before, **changed}
    assert api.http.get(f"{VERSIONS}/latest").json()["description"] is None
    assert api.http.get(f"/v1/models/{MODEL}@v1").json()["tags"] == ["a:b", "legal"]
    assert describe("v1", {"tags": []}).json() == {**before, "description": "Read by Łucja"}
    assert describe("v1", {"description": None}).json() == before


def test_a_model_has_its_own(api: Api, describe: Describe) -> None:
    answer = api.http.patch(f"/v1/models/{MODEL}", json={"description": "What chat uses", "tags": ["prod"]})

    assert (answer.json()["id"], answer.json()["description"], answer.json()["tags"]) == (
        MODEL,
        "What chat uses",
        ["prod"],
    )
    assert api.http.get(f"{VERSIONS}/v3").json()["tags"] == []
    assert [card["id"] for card in api.http.get("/v1/models?tag=prod").json()["data"]] == [MODEL]
    assert api.http.patch(f"/v1/models/{MODEL}@v2", json={"tags": ["two"]}).json()["id"] == f"{MODEL}@v2"
    assert [card["id"] for card in api.http.get("/v1/models?tag=two").json()["data"]] == [f"{MODEL}@v2"]
    assert [card["id"] for card in api.http.get("/v1/models?q=CHAT USES").json()["data"]] == [MODEL]


def test_versions_are_found_by_tag_and_text(api: Api, describe: Describe) -> None:
    describe("v1", {"description": "100% of Ümläute", "tags": ["legal", "nulls"]})
    describe("v2", {"tags": ["legal_2"]})
    describe("v3", {"description": "legal, too", "tags": []})

    assert listed(api, tag="legal") == ["v1"]
    assert listed(api, tag="legal_2") == ["v2"]
    assert listed(api, tag="legalx2") == []
    assert listed(api, q="LEGAL") == ["v3", "v2", "v1"]
    assert listed(api, q="0% of Üm") == ["v1"]
    assert listed(api, q="_") == ["v2"]
    assert listed(api, q="two") == ["v3", "v2", "v1"], "their label"
    assert listed(api, q="null") == ["v1"], "a tag, and no row without any"
    assert listed(api, q='"') == []
    assert listed(api, tag="legal", q="two") == ["v1"]
    first = api.http.get(VERSIONS, params={"q": "two", "limit": 2}).json()
    assert listed(api, q="two", limit="2", cursor=first["next_cursor"]) == ["v1"]


def test_a_change_that_somebody_made_meanwhile_is_not_lost(api: Api, describe: Describe) -> None:
    read = api.http.get(f"{VERSIONS}/v1").headers["etag"]
    changed = describe("v1", {"tags": ["mine"]}, **{"If-Match": read})
    assert changed.status_code == 200
    assert changed.headers["etag"] == api.http.get(f"{VERSIONS}/v1").headers["etag"] != read

    late = describe("v1", {"tags": ["theirs"]}, **{"If-Match": read})

    assert (late.status_code, late.json()["code"]) == (409, "notes_changed")
    assert api.http.get(f"{VERSIONS}/v1").json()["tags"] == ["mine"]
    assert describe("v1", {"tags": ["theirs"]}, **{"If-Match": "*"}).status_code == 200
    card = api.http.get(f"/v1/models/{MODEL}").headers["etag"]
    assert api.http.patch(f"/v1/models/{MODEL}", json={"tags": ["x"]}, headers={"If-Match": card}).status_code == 200


def test_the_log_says_what_changed_but_not_the_text(api: Api, describe: Describe, database: Database) -> None:
    describe("v1", {"description": "about Ada", "tags": ["b"]})
    describe("v1", {"description": "about Ada", "tags": ["b"]})

    with database.reading() as session:
        (entry,) = audit.page(session, None, 10, action="version.described")
    assert (entry.model, entry.target) == (MODEL, "v1")
    assert entry.details == {
        "tags": ["b"],
        "tags_before": [],
        "description_characters": 9,
        "description_characters_before": 0,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "says nothing to change"),
        ({"tags": ["Upper"]}, "tags[0]"),
        ({"tags": ['a"b']}, "tags[0]"),
        ({"tags": ["x" * 51]}, "tags[0]"),
        ({"tags": [f"t{n}" for n in range(21)]}, "has 21 entries, at most 20"),
        ({"description": "x" * 2001}, "has 2001 characters, at most 2000"),
        ({"description": "a\x00b"}, "NUL character"),
        ({"label": "x"}, "known: description, tags"),
    ],
)
def test_what_cannot_be_kept_is_refused(describe: Describe, body: dict[str, Any], says: str) -> None:
    answer = describe("v1", body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert says in answer.text


def test_what_is_not_there_is_a_404(api: Api, describe: Describe) -> None:
    assert describe("v9", {"tags": []}).status_code == 404
    assert api.http.patch("/v1/models/huge", json={"tags": []}).status_code == 404
    assert api.http.get(VERSIONS, params={"tag": "Not A Tag"}).status_code == 422


def test_a_deleted_version_cannot_be_described(api: Api, describe: Describe, database: Database) -> None:
    describe("v3", {"description": "gone soon"})
    api.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": "v2"})
    assert api.http.delete(f"{VERSIONS}/v3").status_code == 204
    assert describe("v3", {"tags": []}).status_code == 404
    with database.reading() as session:
        assert [row.number for row in lineage.page(session, MODEL, None, 9, text="gone soon")] == []
