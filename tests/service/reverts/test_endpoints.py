"""Accepting reverts: what is taken out is named, checked against the lineage, and runs as a batch of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest

from service.reverts.service import MOST_READINGS
from store.access.audit import Actor
from store.lineage import aliases, models
from store.schema.database import Database
from store.upkeep.retention import RetentionPolicy, apply
from store.work import batches, tasks
from store.work.reversal import LeavingFact, facts_to_revert
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES


def revert(api: Api, version: str = "v1", *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return api.http.post(f"/v1/models/{MODEL}/versions/{version}/revert", json=body, headers=headers)


@pytest.fixture
def edit(api: Api, database: Database) -> str:
    """The id of the edit of four facts that made v1."""
    return publish(api, database, facts=4)


def test_a_revert_is_a_batch_that_can_be_watched(api: Api, edit: str, database: Database) -> None:
    answer = revert(api, facts=[3, 0], label="two wrong ones")

    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/edits/{job['id']}")
    assert (job["kind"], job["algorithm"], job["facts"], job["label"]) == ("revert", "revert", 2, "two wrong ones")
    assert job["reverts"] == [{"edit": edit, "facts": [0, 3]}]
    assert job["requested"] == f"{MODEL}@latest"
    assert api.http.get(f"/v1/edits/{job['id']}").json()["reverts"] == job["reverts"]
    facts = api.http.get(f"/v1/edits/{job['id']}/facts").json()["data"]
    assert [one["subject"] for one in facts] == ["Country 3", "Country 0"]
    api.resources.relay.round()
    with database.reading() as session:
        assert [task.queue for task in tasks.of_batch(session, job["id"], "revert")] == [f"solve:{MODEL}"]
        assert tasks.of_batch(session, job["id"], "plan") == []


@pytest.mark.parametrize(
    ("version", "on"), [("latest", "latest"), ("v2", "latest"), ("v1", "v1"), ("staging", "staging")]
)
def test_an_alias_follows_where_it_is_named_or_stands(
    api: Api, edit: str, database: Database, version: str, on: str
) -> None:
    publish(api, database, facts=2)
    with database.writing() as session:
        aliases.put(session, MODEL, "staging", 1, None)

    assert revert(api, version, of="v1", facts=[1]).json()["requested"] == f"{MODEL}@{on}"


def test_where_latest_is_protected_others_make_branches(api: Api, edit: str, database: Database) -> None:
    with database.writing() as session:
        aliases.put(session, MODEL, "latest", None, None, protected=True, admin=True)

    assert revert(api, "v1", facts=[1]).json()["requested"] == f"{MODEL}@v1"
    assert revert(api, "latest", facts=[1]).json()["code"] == "alias_protected"


def test_whole_edits_anywhere_in_the_lineage_can_be_named(api: Api, edit: str, database: Database) -> None:
    later = publish(api, database, facts=2)

    job = revert(api, "latest", edits=[edit], facts=[1]).json()
    assert job["reverts"] == [{"edit": later, "facts": [1]}, {"edit": edit, "facts": [0, 1, 2, 3]}]
    assert job["facts"] == 5


def test_the_same_key_is_the_same_revert(api: Api, edit: str, database: Database) -> None:
    first = revert(api, facts=[1], headers={"Idempotency-Key": "k"}).json()
    with database.writing() as session:
        row = batches.get(session, first["id"])
        batches.set_state(session, row, "cancelled")

    again = revert(api, facts=[1], headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    other = revert(api, "v0", facts=[1], headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_if_match_holds_the_version(api: Api, edit: str) -> None:
    stale = revert(api, "latest", facts=[1], headers={"If-Match": '"v0"'})
    assert (stale.status_code, stale.json()["code"]) == (409, "conflict")
    assert revert(api, "latest", facts=[1], headers={"If-Match": '"v1"'}).status_code == 202


@pytest.mark.parametrize(
    ("version", "body", "status", "code", "says"),
    [
        ("v1", {"facts": [4]}, 409, "not_in_lineage", "the batch of v1 has 4 facts, 0 to 3"),
        ("v0", {"facts": [0]}, 409, "not_in_lineage", "v0 is the base"),
        ("v0", {"facts": [0], "of": "v1"}, 409, "not_in_lineage", "v1 is not in the lineage of v0"),
        ("v1", {"edits": ["edit_none"]}, 404, "edit_not_found", "edit_none"),
        ("v7", {"facts": [0]}, 404, "version_not_found", "v0 to v1"),
        ("best", {"facts": [0]}, 404, "version_not_found", "aliases: latest"),
        ("v1", {}, 422, "invalid_fields", "names nothing to take out"),
        ("v1", {"facts": [-1]}, 422, "invalid_fields", "facts[0]"),
        ("v1", {"facts": ["0"]}, 422, "invalid_fields", "must be a whole number"),
        ("v1", {"edits": ["e"], "of": "v1"}, 422, "invalid_fields", "there are no facts"),
        ("v1", {"facts": [0], "thresholds": {"XS": 1}}, 422, "invalid_fields", "known: 'ES'"),
        ("v1", {"fact": [0]}, 422, "invalid_fields", "known: facts, of, edits"),
    ],
)
def test_a_wrong_revert_is_refused(
    api: Api, edit: str, version: str, body: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = revert(api, version, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.text


def reading_meanwhile(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], object]) -> None:
    """Each time that facts to revert were read, the next of `happenings` comes to pass before they are kept."""
    waiting = list(happenings)

    def read(*args: Any, **kwargs: Any) -> list[LeavingFact]:
        found = facts_to_revert(*args, **kwargs)
        if waiting:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(waiting.pop(0)).result(60)
        return found

    monkeypatch.setattr("service.reverts.service.facts_to_revert", read)


def test_others_write_while_a_revert_reads_what_it_takes_out(
    api: Api, edit: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write() -> None:
        with database.writing() as session:
            written.append(models.register(session, "other", "a folder").name)

    reading_meanwhile(monkeypatch, write)

    assert revert(api, "latest", facts=[1]).status_code == 202
    assert written == ["other"]


def test_a_revert_is_made_on_the_version_that_is_there_when_it_is_kept(
    api: Api, edit: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[str] = []
    reading_meanwhile(monkeypatch, lambda: later.append(publish(api, database, facts=2)))

    job = revert(api, "latest", facts=[1]).json()

    assert job["reverts"] == [{"edit": later[0], "facts": [1]}]


def test_a_version_that_never_stands_still_is_a_conflict(
    api: Api, edit: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading_meanwhile(monkeypatch, *[lambda: publish(api, database, facts=2)] * MOST_READINGS)

    answer = revert(api, "latest", facts=[1])

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "send the revert again" in answer.json()["detail"]


def test_texts_that_go_while_a_revert_is_read_are_not_kept_by_it(
    api: Api, edit: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = RetentionPolicy(facts=timedelta(0))
    reading_meanwhile(monkeypatch, lambda: apply(database, policy, Actor("cli:ada"), execute=True))

    answer = revert(api, "latest", facts=[1])

    assert (answer.status_code, answer.json()["code"]) == (409, "facts_removed")
