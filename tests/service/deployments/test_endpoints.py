"""Deployments over HTTP: what is accepted, from whom, and what is never told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from store.access import keys
from store.access.audit import Actor
from store.schema.access_tables import AuditRow
from store.schema.database import Database
from tests.service.conftest import MODEL, Api, wait_until
from tests.service.deployments.conftest import deployed
from tests.support.stand_in_vllm import StandInVllm

SECRET = "sk-target-secret"


def test_a_key_goes_to_the_target_alone(
    api: Api, vllm: StandInVllm, database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    vllm.key = SECRET
    body = {"model": f"{MODEL}@latest", "target": f"vllm+{vllm.origin}", "key": SECRET}
    answer = api.http.post("/v1/deployments", json=body)
    assert (answer.status_code, answer.json()["has_key"]) == (202, True)
    location = answer.headers["location"]
    wait_until(lambda: vllm.asked("/v1/models"), "it was asked")
    wait_until(lambda: api.http.get(location).json()["state"] != "pending", "it was looked at")
    told = [answer.text, *(api.http.get(path).text for path in (location, "/v1/deployments", f"{location}/events"))]
    told += [api.http.get("/v1/audit").text, api.http.get("/metrics").text, capfd.readouterr().out]
    assert not any(SECRET in text for text in told)
    wrong = api.http.post("/v1/deployments", json={**body, "key": SECRET * 100, "name": "x"})
    assert wrong.status_code == 422
    assert SECRET not in wrong.text


def test_only_what_the_operator_allows_is_asked(api: Api, vllm: StandInVllm) -> None:
    port = vllm.port
    for target, told in (
        ("vllm+http://127.0.0.1:1", f"may be deployed to: vllm+{vllm.origin}"),
        (f"vllm+http://localhost:{port}", "EMMETD_DEPLOYMENT_TARGETS"),
        (f"vllm+https://127.0.0.1:{port}", "EMMETD_DEPLOYMENT_TARGETS"),
        ("vllm+http://127.0.0.1:99999", "has no port that could be"),
        (f"http://127.0.0.1:{port}", "target"),
        (f"vllm+http://user:pw@127.0.0.1:{port}", "target"),
        (f"vllm+http://127.0.0.1:{port}/v1", "target"),
    ):
        answer = api.http.post("/v1/deployments", json={"model": MODEL, "target": target})
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, "target")
        assert told in answer.text
    assert vllm.requests == []


def test_without_the_setting_nothing_is_allowed(serve: Callable[..., Api], model: str) -> None:
    answer = serve().http.post("/v1/deployments", json={"model": MODEL, "target": "vllm+http://127.0.0.1:8000"})
    assert "may be deployed to: none." in answer.json()["errors"][0]["msg"]


def test_they_are_listed_page_by_page_and_a_name_is_taken_once(api: Api, vllm: StandInVllm) -> None:
    made = [deployed(api, vllm, name=f"name-{number}") for number in range(3)]
    first = api.http.get("/v1/deployments?limit=2").json()
    rest = api.http.get("/v1/deployments", params={"limit": 2, "cursor": first["next_cursor"], "model": MODEL}).json()
    assert [one["id"] for one in [*first["data"], *rest["data"]]] == made[::-1]
    assert rest["next_cursor"] is None
    body = {"model": MODEL, "target": f"vllm+{vllm.origin}/", "name": "name-1"}
    again = api.http.post("/v1/deployments", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "deployment_exists")
    assert made[1] in again.json()["detail"]


def test_unknown_things_are_named(api: Api, vllm: StandInVllm) -> None:
    target = f"vllm+{vllm.origin}"
    for reference, code in ((f"{MODEL}@v9", "version_not_found"), ("other", "model_not_found")):
        answer = api.http.post("/v1/deployments", json={"model": reference, "target": target})
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        answer = api.http.request(method, f"/v1/deployments/dep_none{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "deployment_not_found")


def test_administrators_deploy_and_others_look(serve: Callable[..., Api], database: Database, model: str) -> None:
    api = serve(auth="on", deployment_targets="http://127.0.0.1:1")
    actor = Actor("cli:test")
    with database.writing() as session:
        made = {
            name: keys.create(session, actor, label=name, scopes=[scope], models=models)[1]  # type: ignore[list-item]
            for name, scope, models in (
                ("admin", "admin", None),
                ("editor", "edit", None),
                ("other", "edit", ["another"]),
                ("reader", "generate", None),
            )
        }
    headers = {name: {"Authorization": f"Bearer {text}"} for name, text in made.items()}
    body = {"model": MODEL, "target": "vllm+http://127.0.0.1:1"}
    for name in ("editor", "other", "reader"):
        refused = api.http.post("/v1/deployments", json=body, headers=headers[name])
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    location = api.http.post("/v1/deployments", json=body, headers=headers["admin"]).headers["location"]
    assert api.http.get(location, headers=headers["editor"]).status_code == 200
    assert api.http.get(location, headers=headers["reader"]).status_code == 403
    assert api.http.get(location, headers=headers["other"]).json()["code"] == "model_not_granted"
    assert api.http.get("/v1/deployments", headers=headers["other"]).json()["data"] == []
    assert api.http.delete(location, headers=headers["editor"]).status_code == 403
    removed = api.http.delete(location, headers=headers["admin"]).json()
    assert (removed["deleted"], removed["unloaded"]) == (True, False)
    with database.reading() as session:
        actions = select(AuditRow.action).where(AuditRow.action.startswith("deployment"))
        assert list(session.scalars(actions)) == ["deployment.created", "deployment.removed"]
