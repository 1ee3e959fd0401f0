"""Accepting consolidations: what a version says becomes a batch on the base, or is refused with a remedy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_schemas.references import ModelReference
from store.access.audit import Actor
from store.lineage import aliases
from store.lineage import versions as lineage
from store.lineage.versions import NewVersion
from store.schema.database import Database
from store.upkeep import deletion
from store.upkeep.retention import RetentionPolicy, apply
from store.work import batches, tasks
from store.work.consolidation import FactInForce, facts_to_consolidate
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import METRICS, publish
from tests.service.reverts.test_endpoints import revert

pytestmark = BOTH_DATABASES


def consolidate(
    api: Api, version: str = "latest", *, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    return api.http.post(f"/v1/models/{MODEL}/versions/{version}/consolidate", json=body, headers=headers)


def published(database: Database, edit: str) -> int:
    """The batch, as if a worker had published it; the number of its version."""
    with database.writing() as session:
        row = batches.get(session, edit)
        row.base_version = lineage.resolve(session, ModelReference(MODEL, version=row.branch_of, alias=row.line)).number
        new = NewVersion(
            layers=[1],
            rank=1,
            blob="d" * 64,
            matrix_blobs={"1": "e" * 64},
            delta_bytes=1,
            matrix_bytes=1,
            matrix_hashes={"1": "a" * 64},
            provenance={},
            metrics=METRICS,
        )
        number = lineage.publish(session, row, new).number
        row.version = number
        batches.set_state(session, row, "succeeded")
        return number


@pytest.fixture
def line(api: Api, database: Database) -> list[str]:
    """v1 of three facts, v2 that corrects fact 1 and brings one more, v3 without fact 2: the ids of the edits."""
    first = publish(api, database, facts=3)
    correction = {**fact(1), "target_new": "Elsewhere"}
    second = api.edit([correction, fact(3)]).json()["id"]
    published(database, second)
    third = revert(api, "latest", of="v1", facts=[2]).json()["id"]
    published(database, third)
    return [first, second, third]


def test_what_a_version_says_becomes_a_batch_on_the_base(api: Api, line: list[str], database: Database) -> None:
    answer = consolidate(api, label="autumn", settings={"steps": 9}, thresholds={"EM": 0.9})

    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/edits/{job['id']}")
    assert (job["kind"], job["consolidates"], job["facts"], job["label"]) == ("consolidation", "v3", 3, "autumn")
    assert (job["requested"], job["algorithm"], job["thresholds"]) == (f"{MODEL}@v0", "emmet", {"EM": 0.9})
    facts = api.http.get(f"/v1/edits/{job['id']}/facts").json()["data"]
    assert [(one["subject"], one["target_new"]) for one in facts] == [
        (fact(0)["subject"], fact(0)["target_new"]),
        (fact(1)["subject"], "Elsewhere"),
        (fact(3)["subject"], fact(3)["target_new"]),
    ]
    api.resources.relay.round()
    with database.reading() as session:
        assert [task.queue for task in tasks.of_batch(session, job["id"], "plan_kept")] == [f"control:{MODEL}"]
        assert tasks.of_batch(session, job["id"], "plan") == []
        assert batches.get(session, job["id"]).settings["steps"] == 9


def test_its_version_says_what_it_consolidates_and_where_its_facts_are_from(
    api: Api, line: list[str], database: Database
) -> None:
    job = consolidate(api, "v3").json()
    assert published(database, job["id"]) == 4

    version = api.http.get(f"/v1/models/{MODEL}/versions/v4").json()
    assert (version["parent"], version["consolidates"], version["aliases"]) == ("v0", "v3", [])
    assert (version["facts"], version["total_facts"]) == (3, 3)
    assert api.http.get(f"/v1/models/{MODEL}/versions/latest").json()["version"] == "v3"
    facts = api.http.get(f"/v1/models/{MODEL}/versions/v4/facts").json()["data"]
    assert [(one["edit"], one["version"], one["index"]) for one in facts] == [(job["id"], "v4", n) for n in range(3)]
    assert [one["origin"] for one in facts] == [
        {"edit": line[0], "version": "v1", "index": 0},
        {"edit": line[1], "version": "v2", "index": 0},
        {"edit": line[1], "version": "v2", "index": 1},
    ]
    assert [one["origin"] for one in api.http.get(f"/v1/models/{MODEL}/versions/v3/facts").json()["data"]] == [None] * 3
    taken = revert(api, "v4", facts=[1]).json()
    assert taken["reverts"] == [{"edit": job["id"], "facts": [1]}]


def test_a_body_may_be_left_out(api: Api, line: list[str]) -> None:
    answer = api.http.post(f"/v1/models/{MODEL}/versions/v2/consolidate")
    assert (answer.status_code, answer.json()["consolidates"], answer.json()["facts"]) == (202, "v2", 4)


def test_one_at_a_time(api: Api, line: list[str]) -> None:
    first = consolidate(api).json()["id"]
    second = consolidate(api, "v3")
    assert (second.status_code, second.json()["code"]) == (409, "consolidation_runs")
    assert first in second.json()["detail"]
    assert consolidate(api, "v2").status_code == 202
    api.http.post(f"/v1/edits/{first}/cancel")
    assert consolidate(api).status_code == 202


def test_of_several_at_once_one_is_kept(api: Api, line: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: consolidate(api, "v3"), range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]


def test_the_same_key_is_the_same_consolidation(api: Api, line: list[str]) -> None:
    first = consolidate(api, headers={"Idempotency-Key": "k"})
    again = consolidate(api, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


def test_if_match_holds_the_version(api: Api, line: list[str]) -> None:
    stale = consolidate(api, headers={"If-Match": '"v2"'})
    assert (stale.status_code, stale.json()["code"]) == (409, "conflict")
    assert consolidate(api, headers={"If-Match": '"v3"'}).status_code == 202


@pytest.mark.parametrize(
    ("version", "body", "status", "code", "says"),
    [
        ("v0", {}, 409, "nothing_to_consolidate", "v0 is the base"),
        ("v9", {}, 404, "version_not_found", "v0 to v3"),
        ("best", {}, 404, "version_not_found", "aliases: latest"),
        ("v3", {"algorithm": "emett"}, 422, "invalid_fields", "did you mean emmet?"),
        ("v3", {"algorithm": "rome"}, 422, "invalid_fields", "rome edits 1 subject at a time"),
        ("v3", {"settings": {"step": 3}}, 422, "invalid_fields", "settings.step"),
        ("v3", {"facts": [1]}, 422, "invalid_fields", "facts"),
    ],
)
def test_a_wrong_one_is_refused(
    api: Api, line: list[str], version: str, body: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = consolidate(api, version, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.text


def test_a_version_whose_facts_were_all_taken_out_has_nothing_to_consolidate(api: Api, database: Database) -> None:
    publish(api, database, facts=2)
    published(database, revert(api, "latest", of="v1", facts=[0, 1]).json()["id"])
    answer = consolidate(api)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_consolidate")
    assert "point the alias at v0" in answer.json()["detail"]


def test_an_unavailable_version_is_refused(api: Api, line: list[str], database: Database) -> None:
    with database.writing() as session:
        lineage.get(session, MODEL, 3).state = "unavailable"
    answer = consolidate(api)
    assert (answer.status_code, answer.json()["code"]) == (409, "version_unavailable")


def test_too_many_facts_are_refused(api: Api, line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.work.consolidation.MOST_FACTS", 2)
    answer = consolidate(api)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_facts")
    assert "v3 says 3 facts" in answer.json()["detail"]


def test_removed_texts_are_refused_also_when_they_go_meanwhile(
    api: Api, line: list[str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = RetentionPolicy(facts=timedelta(0))

    def read(*args: Any) -> list[FactInForce]:
        found = facts_to_consolidate(*args)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(apply, database, policy, Actor("cli:ada"), execute=True).result(60)
        return found

    monkeypatch.setattr("service.consolidations.service.facts_to_consolidate", read)
    meanwhile = consolidate(api)
    monkeypatch.undo()
    after = consolidate(api)
    for answer in (meanwhile, after):
        assert (answer.status_code, answer.json()["code"]) == (409, "facts_removed")


def test_a_version_is_not_deleted_while_it_is_consolidated(api: Api, line: list[str], database: Database) -> None:
    job = consolidate(api).json()
    with database.writing() as session:
        aliases.put(session, MODEL, "latest", 2, None)
        assert any(job["id"] in one for one in deletion.needed_by(session, MODEL, 3))
