"""Keys over HTTP: made, shown once, listed without their secret, revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from store.access import keys
from store.access.audit import Actor
from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api

FIRST = "the-key-of-the-configuration"


@pytest.fixture
def locked(serve: Callable[..., Api], model: str) -> Api:
    api = serve(auth="on", api_key=SecretStr(FIRST))
    api.http.headers["Authorization"] = f"Bearer {FIRST}"
    return api


def make(api: Api, **fields: Any) -> httpx.Response:
    return api.http.post("/v1/keys", json={"label": "ada's", "scopes": ["generate"], **fields})


def status_with(api: Api, secret: str, path: str = "/v1/models") -> int:
    return httpx.get(f"{api.url}{path}", headers={"Authorization": f"Bearer {secret}"}).status_code


@BOTH_DATABASES
def test_a_key_is_made_used_and_revoked(locked: Api) -> None:
    made = make(locked, scopes=["evaluate", "generate"], requests_per_minute=100)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    key = made.json()
    secret = key.pop("secret")

    assert (key["label"], key["scopes"], key["models"]) == ("ada's", ["generate", "evaluate"], None)
    assert (key["created_by"], key["requests_per_minute"], key["revoked_at"]) == ("bootstrap", 100, None)
    assert secret.startswith(key["id"])
    assert (status_with(locked, secret), status_with(locked, secret, "/v1/edits")) == (200, 200)
    assert status_with(locked, secret, "/v1/audit") == 403

    revoked = locked.http.post(f"/v1/keys/{key['id']}/revoke").json()

    assert revoked["revoked_at"] is not None
    assert status_with(locked, secret) == 401
    again = locked.http.post(f"/v1/keys/{key['id']}/revoke").json()
    assert again["revoked_at"] == revoked["revoked_at"]


def test_the_secret_is_told_once_and_is_nowhere_else(locked: Api) -> None:
    secret = make(locked).json()["secret"]

    listed, log = locked.http.get("/v1/keys").text, locked.http.get("/v1/audit").text

    assert secret[:16] in listed
    assert secret[:16] in log
    assert secret[17:] not in listed + log


def test_keys_are_listed_newest_first_in_pages(locked: Api) -> None:
    made = [make(locked, label=f"key {number}").json()["id"] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = locked.http.get("/v1/keys", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [key["id"] for key in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("fields", "loc", "says"),
    [
        ({"label": " "}, "label", "form"),
        ({"label": "a\nb"}, "label", "form"),
        ({"scopes": []}, "scopes", "at least 1"),
        ({"scopes": ["everything"]}, "scopes[0]", "known: 'generate'"),
        ({"models": []}, "models", "at least 1"),
        ({"models": ["Not A Name"]}, "models[0]", "form"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "is past"),
        ({"expires_at": "tomorrow"}, "expires_at", ""),
        ({"facts_per_day": -1}, "facts_per_day", "at least 0"),
        ({"colour": "red"}, "colour", "is not known here"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(locked: Api, fields: dict[str, Any], loc: str, says: str) -> None:
    answer = make(locked, **fields)

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["loc"] == loc
    assert says in error["msg"]
    assert locked.http.get("/v1/keys").json()["data"] == []


def test_an_unknown_key_is_not_revoked(locked: Api) -> None:
    assert locked.http.post("/v1/keys/emk_000000000000/revoke").json()["code"] == "key_not_found"


def test_an_administrator_of_one_model_neither_sees_nor_makes_keys(locked: Api, database: Database) -> None:
    with database.writing() as session:
        _, text = keys.create(session, Actor("cli:ada"), label="one", scopes=["admin"], models=[MODEL])
    locked.http.headers["Authorization"] = f"Bearer {text}"

    for answer in (make(locked, scopes=["admin"]), locked.http.get("/v1/keys")):
        assert (answer.status_code, answer.json()["code"]) == (403, "model_not_granted")
        assert f"it is for {MODEL}" in answer.json()["detail"]


def test_a_server_that_asks_for_no_keys_makes_none(api: Api) -> None:
    answer = make(api)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "EMMETD_API_KEY" in answer.json()["detail"]


def test_everybody_is_told_what_their_own_key_may_do(locked: Api) -> None:
    secret = make(locked, scopes=["evaluate"], models=[MODEL]).json()["secret"]

    own = httpx.get(f"{locked.url}/v1/keys/own", headers={"Authorization": f"Bearer {secret}"}).json()

    assert own == {"id": secret[:16], "label": "ada's", "scopes": ["evaluate"], "models": [MODEL]}
    assert locked.http.get("/v1/keys/own").json() == {
        "id": "bootstrap",
        "label": None,
        "scopes": ["generate", "evaluate", "edit", "admin"],
        "models": None,
    }


def test_without_keys_everybody_is_local(api: Api) -> None:
    assert api.http.get("/v1/keys/own").json()["id"] == "local"
