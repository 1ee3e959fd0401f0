"""Reading the audit log: paged, narrowed, and each caller only what is theirs to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from store.access import audit, keys
from store.access.audit import Actor
from store.lineage import models
from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact

ADA = Actor("cli:ada")


@pytest.fixture
def locked(serve: Callable[..., Api], model: str) -> Api:
    return serve(auth="on")


def as_admin(api: Api, database: Database, granted: list[str] | None = None) -> str:
    """Let all requests of `api` carry an administrator's key; its id."""
    with database.writing() as session:
        row, text = keys.create(session, ADA, label="ada's", scopes=["admin"], models=granted)
    api.http.headers["Authorization"] = f"Bearer {text}"
    return row.id


def read(api: Api, **query: Any) -> list[dict[str, Any]]:
    """All entries, page by page."""
    found, cursor = [], None
    while True:
        page = api.http.get("/v1/audit", params={**query, **({"cursor": cursor} if cursor else {})}).raise_for_status()
        found += page.json()["data"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return found


@BOTH_DATABASES
def test_each_change_is_told_with_who_made_it(locked: Api, database: Database) -> None:
    key_id = as_admin(locked, database)
    edit = locked.edit([fact(0), fact(1)], label="two").json()["id"]
    path = f"/v1/models/{MODEL}/aliases/staging"
    for body in ({"version": "v0"}, {"version": "v0"}, {"protected": True}, {"protected": False}):
        assert locked.http.put(path, json=body).status_code == 200
    locked.http.delete(path)
    locked.http.post(f"/v1/edits/{edit}/cancel")

    entries = read(locked, actor=key_id)[::-1]

    assert [entry["action"] for entry in entries if entry["action"] != "edit.cancelled"] == [
        "edit.accepted",
        "alias.moved",
        "alias.protected",  # nothing is written for the second time, which changed nothing
        "alias.protected",
        "alias.deleted",
    ]
    assert {(entry["label"], entry["address"], entry["model"]) for entry in entries} == {("ada's", "127.0.0.1", MODEL)}
    accepted, moved, protected = entries[:3]
    assert (accepted["target"], accepted["details"]["facts"], accepted["details"]["edit_label"]) == (edit, 2, "two")
    assert moved["details"] == {"version": "v0", "protected": False, "before": None}
    assert protected["details"] == {"version": "v0", "protected": True, "before": "v0"}


@BOTH_DATABASES
def test_pages_follow_one_another(locked: Api, database: Database) -> None:
    as_admin(locked, database)
    for number in range(5):
        locked.edit([fact(number)])
    whole = read(locked)
    assert [entry["id"] for entry in whole] == sorted((entry["id"] for entry in whole), reverse=True)
    assert read(locked, limit=2) == whole
    assert len(read(locked, action="edit.accepted", model=MODEL, limit=3)) == 5
    assert locked.http.get("/v1/audit?cursor=none").json()["code"] == "invalid_cursor"


def test_an_administrator_of_some_models_reads_of_those_alone(locked: Api, database: Database) -> None:
    as_admin(locked, database, [MODEL])
    with database.writing() as session:
        models.register(session, "other", "a folder", ADA)
    locked.edit()
    assert {entry["model"] for entry in read(locked)} == {MODEL}
    assert locked.http.get("/v1/audit?model=other").json()["code"] == "model_not_granted"
    with database.reading() as session:
        assert {row.model for row in audit.page(session, None, 99)} == {MODEL, "other", None}


def test_what_is_refused_or_sent_again_changed_nothing(locked: Api, database: Database) -> None:
    as_admin(locked, database)
    before = read(locked)
    locked.edit([])
    locked.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": "v0", "expected": "v7"})
    locked.http.delete(f"/v1/models/{MODEL}/aliases/latest")
    assert read(locked) == before
    body = {"model": MODEL, "facts": [fact()]}
    for _ in range(2):
        assert locked.http.post("/v1/edits", json=body, headers={"Idempotency-Key": "one"}).status_code == 202
    assert len(read(locked)) == len(before) + 1


@pytest.mark.parametrize("query", ["model=%00", "actor=%00", "action=DROP", "limit=0"])
def test_a_wrong_question_is_refused(locked: Api, database: Database, query: str) -> None:
    as_admin(locked, database)
    assert locked.http.get(f"/v1/audit?{query}").status_code == 422


def test_without_keys_it_is_read_by_whoever_sits_at_the_machine(api: Api) -> None:
    edit = api.edit().json()["id"]
    newest = api.http.get("/v1/audit").json()["data"][0]
    assert (newest["actor"], newest["action"], newest["target"]) == ("local", "edit.accepted", edit)
