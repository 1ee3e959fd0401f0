"""Every route against every kind of caller. A route that is not in the table below fails the first test.

All requests are about the model `other`; the key that is for `tiny` must neither see nor touch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from api_schemas.access import SCOPES
from api_schemas.references import parse_reference
from cli.supervision.private_redis import PrivateRedis
from configuration.settings import Settings
from service.access.rules import PUBLIC, RULES, check_routes, routes
from service.app import create_app
from service.console.pages import pages
from service.http.problems import OPENAI_PATHS
from store.access import audit, keys
from store.access.audit import Actor
from store.clock import now
from store.lineage import alias_requests, aliases
from store.lineage.alias_requests import Change
from store.schema.database import Database
from store.webhooks import registrations
from store.work import batches, deployments, evaluations, lines, statistics
from store.work.deployments import NewDeployment
from tests.service.conftest import MODEL, Api, fact, load_model, served, wait_until
from tests.store.conftest import publish
from tests.support.stand_in_worker import StandInWorker

OTHER = "other"
BOOTSTRAP = "the-key-of-the-configuration"
SOMEBODY = Actor("cli:ada")
NOWHERE = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Probe:
    """A request that works for a caller who may. `{edit}` and `{evaluation}` in a path are ids of `other`'s.

    `change`: what the audit log says of it. `lists`: it names no model, and shows each caller what is theirs.
    """

    path: str
    body: Any = None
    change: str | None = None
    lists: bool = False


FACTS = {"model": OTHER, "facts": [fact()]}
DOWNSTREAM = {
    "harness": {"name": "lm-eval", "version": "0.4.13"},
    "results": {"quiz": {"measures": {"acc": {"value": 0.5}}}},
}
PROBES = {
    ("POST", "/v1/edits"): Probe("/v1/edits", FACTS, "edit.accepted"),
    ("GET", "/v1/edits"): Probe("/v1/edits", lists=True),
    ("GET", "/v1/edits/{edit_id}"): Probe("/v1/edits/{edit}"),
    ("GET", "/v1/edits/{edit_id}/events"): Probe("/v1/edits/{edit}/events"),
    ("GET", "/v1/edits/{edit_id}/facts"): Probe("/v1/edits/{edit}/facts"),
    ("GET", "/v1/edits/{edit_id}/left-out"): Probe("/v1/edits/{edit}/left-out"),
    ("POST", "/v1/edits/{edit_id}/cancel"): Probe("/v1/edits/{waiting}/cancel", change="edit.cancelled"),
    ("GET", "/v1/models"): Probe("/v1/models", lists=True),
    # It is there so already: what registering writes down is in service/models/test_registration.py.
    ("POST", "/v1/models"): Probe("/v1/models", {"source": "a folder", "name": OTHER}),
    ("GET", "/v1/models/{model}"): Probe(f"/v1/models/{OTHER}@v1"),
    ("PATCH", "/v1/models/{model}"): Probe(f"/v1/models/{OTHER}", {"tags": ["a"]}, "model.described"),
    ("GET", "/v1/models/{model}/versions"): Probe(f"/v1/models/{OTHER}/versions"),
    ("GET", "/v1/models/{model}/versions/{version}"): Probe(f"/v1/models/{OTHER}/versions/v1"),
    ("PATCH", "/v1/models/{model}/versions/{version}"): Probe(
        f"/v1/models/{OTHER}/versions/v1", {"tags": ["a"]}, "version.described"
    ),
    ("DELETE", "/v1/models/{model}/versions/{version}"): Probe(
        f"/v1/models/{OTHER}/versions/v2", change="version.deleted"
    ),
    ("GET", "/v1/models/{model}/lineage"): Probe(f"/v1/models/{OTHER}/lineage"),
    ("GET", "/v1/models/{model}/versions/{version}/metrics"): Probe(f"/v1/models/{OTHER}/versions/v1/metrics"),
    ("GET", "/v1/models/{model}/versions/{version}/facts"): Probe(f"/v1/models/{OTHER}/versions/v1/facts"),
    ("GET", "/v1/models/{model}/versions/{version}/export"): Probe(
        f"/v1/models/{OTHER}/versions/v1/export", change="export.accepted"
    ),
    ("POST", "/v1/models/{model}/versions/{version}/revert"): Probe(
        f"/v1/models/{OTHER}/versions/v1/revert", {"facts": [0]}, "revert.accepted"
    ),
    ("POST", "/v1/models/{model}/versions/{version}/consolidate"): Probe(
        f"/v1/models/{OTHER}/versions/v1/consolidate", {}, "consolidation.accepted"
    ),
    ("GET", "/v1/models/{model}/diff"): Probe(f"/v1/models/{OTHER}/diff?from=v0&to=v1&weights=false"),
    ("GET", "/v1/models/{model}/aliases"): Probe(f"/v1/models/{OTHER}/aliases"),
    ("POST", "/v1/models/{model}/versions/{version}/downstream"): Probe(
        f"/v1/models/{OTHER}/versions/v1/downstream", DOWNSTREAM, "downstream.kept"
    ),
    ("GET", "/v1/models/{model}/versions/{version}/downstream"): Probe(f"/v1/models/{OTHER}/versions/v1/downstream"),
    ("PUT", "/v1/models/{model}/aliases/{alias}"): Probe(
        f"/v1/models/{OTHER}/aliases/moved", {"version": "v0"}, "alias.moved"
    ),
    ("DELETE", "/v1/models/{model}/aliases/{alias}"): Probe(
        f"/v1/models/{OTHER}/aliases/staging", change="alias.deleted"
    ),
    ("GET", "/v1/models/{model}/alias-requests"): Probe(f"/v1/models/{OTHER}/alias-requests"),
    ("GET", "/v1/models/{model}/alias-requests/{request_id}"): Probe(f"/v1/models/{OTHER}/alias-requests/{{request}}"),
    ("POST", "/v1/models/{model}/alias-requests/{request_id}/refuse"): Probe(
        f"/v1/models/{OTHER}/alias-requests/{{own}}/refuse", change="alias.withdrawn"
    ),
    ("POST", "/v1/models/{model}/alias-requests/{request_id}/approve"): Probe(
        f"/v1/models/{OTHER}/alias-requests/{{request}}/approve", change="alias.approved"
    ),
    ("POST", "/v1/evaluations"): Probe("/v1/evaluations", FACTS, "evaluation.accepted"),
    ("GET", "/v1/evaluations"): Probe("/v1/evaluations", lists=True),
    ("GET", "/v1/evaluations/{evaluation_id}"): Probe("/v1/evaluations/{evaluation}"),
    ("GET", "/v1/evaluations/{evaluation_id}/report"): Probe("/v1/evaluations/{evaluation}/report"),
    ("POST", "/v1/evaluations/{evaluation_id}/cancel"): Probe(
        "/v1/evaluations/{evaluation}/cancel", change="evaluation.cancelled"
    ),
    ("POST", "/v1/statistics"): Probe("/v1/statistics", {"model": OTHER}, "statistic.accepted"),
    ("GET", "/v1/statistics"): Probe("/v1/statistics", lists=True),
    ("GET", "/v1/statistics/{statistic_id}"): Probe("/v1/statistics/{statistic}"),
    ("POST", "/v1/statistics/{statistic_id}/cancel"): Probe(
        "/v1/statistics/{statistic}/cancel", change="statistic.cancelled"
    ),
    ("POST", "/v1/deployments"): Probe(
        "/v1/deployments", {"model": OTHER, "target": f"vllm+{NOWHERE}"}, "deployment.created"
    ),
    ("GET", "/v1/deployments"): Probe("/v1/deployments", lists=True),
    ("GET", "/v1/deployments/{deployment_id}"): Probe("/v1/deployments/{deployment}"),
    ("GET", "/v1/deployments/{deployment_id}/events"): Probe("/v1/deployments/{deployment}/events"),
    ("DELETE", "/v1/deployments/{deployment_id}"): Probe("/v1/deployments/{ending}", change="deployment.removed"),
    ("GET", "/v1/corpora"): Probe("/v1/corpora", lists=True),
    ("GET", "/v1/algorithms"): Probe(f"/v1/algorithms?model={OTHER}"),
    ("POST", "/v1/completions"): Probe("/v1/completions", {"model": OTHER, "prompt": "Lyon"}),
    ("POST", "/v1/chat/completions"): Probe(
        "/v1/chat/completions", {"model": OTHER, "messages": [{"role": "user", "content": "Lyon"}], "max_tokens": 4}
    ),
    ("POST", "/tokenize"): Probe("/tokenize", {"model": OTHER, "prompt": "Lyon"}),
    ("POST", "/detokenize"): Probe("/detokenize", {"model": OTHER, "tokens": [1]}),
    ("GET", "/tokenizer_info"): Probe(f"/tokenizer_info?model={OTHER}"),
    ("GET", "/v1/audit"): Probe("/v1/audit", lists=True),
    ("GET", "/v1/keys"): Probe("/v1/keys"),
    ("POST", "/v1/keys"): Probe("/v1/keys", {"label": "b", "scopes": ["generate"]}, "key.created"),
    ("POST", "/v1/keys/{key_id}/revoke"): Probe("/v1/keys/{key}/revoke", change="key.revoked"),
    ("GET", "/v1/keys/own"): Probe("/v1/keys/own", lists=True),
    ("GET", "/v1/workers"): Probe("/v1/workers", lists=True),
    ("POST", "/v1/webhooks"): Probe("/v1/webhooks", {"url": "http://127.0.0.1:9/", "model": OTHER}, "webhook.created"),
    ("GET", "/v1/webhooks"): Probe("/v1/webhooks", lists=True),
    ("GET", "/v1/webhooks/{webhook_id}"): Probe("/v1/webhooks/{webhook}"),
    ("PATCH", "/v1/webhooks/{webhook_id}"): Probe("/v1/webhooks/{webhook}", {"paused": True}, "webhook.changed"),
    ("DELETE", "/v1/webhooks/{webhook_id}"): Probe("/v1/webhooks/{unwanted}", change="webhook.deleted"),
    ("POST", "/v1/webhooks/{webhook_id}/rotate"): Probe(
        "/v1/webhooks/{webhook}/rotate", change="webhook.secret_rotated"
    ),
    ("POST", "/v1/webhooks/{webhook_id}/test"): Probe("/v1/webhooks/{webhook}/test"),
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): Probe("/v1/webhooks/{webhook}/deliveries"),
    ("GET", "/livez"): Probe("/livez"),
    ("GET", "/readyz"): Probe("/readyz"),
    ("GET", "/metrics"): Probe("/metrics"),
    ("GET", "/"): Probe("/"),
    ("GET", "/console/{file}"): Probe(f"/console/{next(name for name in pages() if name.endswith('.js'))}"),
    ("GET", "/openapi.json"): Probe("/openapi.json"),
    ("GET", "/docs"): Probe("/docs"),
    ("GET", "/redoc"): Probe("/redoc"),
    ("GET", "/reference/{file}"): Probe("/reference/docs.js"),
    ("GET", "/reference/{folder}/{file}"): Probe("/reference/redoc-2.5.4/LICENSE"),
}
Route = tuple[str, str]
GUARDED = [route for route in PROBES if RULES.get(route) != PUBLIC]
OPEN = [route for route in PROBES if RULES.get(route) == PUBLIC]


def named(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[" ".join(route) for route in routes])


@dataclass
class World:
    """A server with two models, and ways to ask it."""

    api: Api
    database: Database
    ids: dict[str, str]

    def key(self, *scopes: str, **fields: Any) -> str:
        with self.database.writing() as session:
            return keys.create(session, SOMEBODY, label="a", scopes=scopes, **fields)[1]  # type: ignore[arg-type]

    def ask(self, route: Route, key: str | None) -> httpx.Response:
        probe = PROBES[route]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.api.http.request(route[0], probe.path.format(**self.ids), json=probe.body, headers=headers)


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    _redis_process: PrivateRedis,
    _migrated_database: Path,
    tokenizer: Tokenizer,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("access")
    copyfile(_migrated_database, folder / "emmetd.sqlite3")
    url = f"sqlite:///{folder}/emmetd.sqlite3"
    settings = Settings(
        data=folder,
        database_url=url,
        redis_url=_redis_process.url,
        api_key=BOOTSTRAP,
        auth="on",
        webhook_networks="127.0.0.0/8",
    )
    settings = settings.model_copy(update={"deployment_targets": NOWHERE})
    for name in (MODEL, OTHER):
        load_model(settings, tokenizer, name, chat_template="{{ messages[0]['content'] }}")
    database = Database(url)
    with database.writing() as session:
        edit, waiting = (
            batches.accept(
                session, batches.NewBatch(parse_reference(OTHER), "emmet", {}, {}, [fact(0), fact(1)]), most_queued=9
            )[0]
            for _ in range(2)
        )
        branch = batches.NewBatch(parse_reference(f"{OTHER}@v0"), "emmet", {}, {}, [fact(2)])
        spare, _ = batches.accept(session, branch, most_queued=9)
        lines.advance(session)
        publish(session, edit)
        publish(session, spare)
        evaluation = evaluations.create(session, model=OTHER, version=0, compare_with=None, metrics=["ES"], facts=[])
        statistic = statistics.create(session, model=OTHER, layers=[1], corpus="self", tokens=1000)
        spare_key = keys.create(session, SOMEBODY, label="to be revoked", scopes=["generate"])[0]
        hook, unwanted = (
            registrations.create(
                session, SOMEBODY, url="http://127.0.0.1:9/", events=["line.worn"], model=OTHER, description=None
            ).id
            for _ in range(2)
        )
        guarded = aliases.put(session, OTHER, "guarded", 1, None, approval=True, admin=True)
        asked = alias_requests.ask(session, SOMEBODY, guarded, Change(0))
        ids = {
            "request": asked.id,
            "own": asked.id,
            "webhook": hook,
            "unwanted": unwanted,
            "edit": edit.id,
            "waiting": waiting.id,
            "evaluation": evaluation.id,
            "statistic": statistic.id,
            "key": spare_key.id,
        }
        deployment, ending = (deployments.create(session, deployment_named(name)) for name in ("one", "two"))
        ids |= {"deployment": deployment.id, "ending": ending.id}
    with StandInWorker(_redis_process.url, OTHER), served(settings) as api:
        yield World(api, database, ids)
    database.close()


def deployment_named(name: str) -> NewDeployment:
    return NewDeployment(OTHER, None, 0, f"vllm+{NOWHERE}", name, "auto", None, None, "")


def refused(route: Route, answer: httpx.Response, status: int) -> str:
    """What a refusal says; it is written as its path has it, and may not be kept."""
    assert answer.status_code == status, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["www-authenticate"].startswith('Bearer realm="emmetd"')
    if route[1] in OPENAI_PATHS:
        return str(answer.json()["error"]["message"])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


def test_every_route_is_in_this_table_and_has_a_rule(tmp_path: Path) -> None:
    found = {(method, path) for method, path in routes(create_app(Settings(data=tmp_path))) if method != "HEAD"}
    assert found == set(PROBES)
    assert found == set(RULES)


def test_an_application_with_a_route_that_has_no_rule_does_not_start(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path))
    app.add_api_route("/v1/new", lambda: None, methods=["POST"])
    with pytest.raises(RuntimeError, match=r"POST /v1/new; add a line to service/access/rules\.py"):
        check_routes(app)


@named(GUARDED)
def test_without_a_good_key_nobody_gets_in(world: World, route: Route) -> None:
    revoked, expired, good = (world.key("admin") for _ in range(3))
    with world.database.writing() as session:
        keys.revoke(session, SOMEBODY, revoked[:16])
        row = keys.find(session, expired)
        assert row is not None
        row.expires_at = now() - timedelta(seconds=1)
    for key, says in (
        (None, "there is no API key"),
        ("wrong", "not known here"),
        (good[:-1], "not known here"),
        (good[:16], "not known here"),
        (f"{BOOTSTRAP}x", "not known here"),
        (revoked, "was revoked"),
        (expired, "expired at"),
    ):
        told = refused(route, world.ask(route, key), 401)
        assert says in told
        assert key is None or key[16:] not in told or not key[16:]


@named([route for route in GUARDED if RULES[route].scopes])
def test_a_key_that_lacks_the_scope_is_told_which(world: World, route: Route) -> None:
    wanted = RULES[route].scopes
    without = world.key(*[scope for scope in SCOPES if scope not in (*wanted, "admin")])

    answer = world.ask(route, without)

    assert f"the scope {' or '.join(wanted)}; this one has" in refused(route, answer, 403)
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@named(GUARDED)
def test_a_key_for_another_model_neither_sees_nor_touches_this_one(world: World, route: Route) -> None:
    for scopes in (("generate", "evaluate", "edit", "admin"), ("generate", "evaluate", "edit")):
        answer = world.ask(route, world.key(*scopes, models=[MODEL]))
        if "admin" in RULES[route].scopes and "admin" not in scopes:
            refused(route, answer, 403)
        elif PROBES[route].lists:
            assert answer.status_code == 200
            assert OTHER not in answer.text
            assert world.ids["edit"] not in answer.text
        else:
            told = refused(route, answer, 403)
            assert f"it is for {MODEL}" in told
            # An id does not tell its model to who may not know that there is such a model.
            assert OTHER not in told or OTHER in f"{PROBES[route]}"


@named(GUARDED)
def test_each_scope_that_is_enough_lets_in_and_changes_are_written_down(world: World, route: Route) -> None:
    scopes = RULES[route].scopes or ("generate",)
    for scope in dict.fromkeys((*scopes, "admin")):
        key = world.key(scope, models=None if scope == "admin" else [OTHER])
        if PROBES[route].change == "alias.deleted":
            moved = world.api.http.put(
                PROBES[route].path, json={"version": "v1"}, headers={"Authorization": f"Bearer {key}"}
            )
            assert moved.status_code == 200, moved.text
        if PROBES[route].change == "alias.withdrawn":  # whoever asked
            asked = world.api.http.put(
                f"/v1/models/{OTHER}/aliases/guarded",
                json={"version": "v0"},
                headers={"Authorization": f"Bearer {key}"},
            )
            assert asked.status_code == 202, asked.text
            world.ids["own"] = asked.json()["request"]["id"]
        answer = world.ask(route, key)
        assert answer.status_code in (200, 201, 202, 204), answer.text
        if PROBES[route].change == "consolidation.accepted":  # of one version there is one at a time
            told = world.api.http.post(
                f"/v1/edits/{answer.json()['id']}/cancel", headers={"Authorization": f"Bearer {key}"}
            )
            assert told.status_code == 200, told.text
    change = PROBES[route].change
    if change is not None:
        with world.database.reading() as session:
            found = audit.page(session, None, 1, action=change)[0]
        assert found.actor.startswith("emk_")
        of = None if change.startswith("key.") else OTHER
        assert (found.label, found.address, found.model) == ("a", "127.0.0.1", of)


@named(OPEN)
def test_what_is_public_needs_no_key(world: World, route: Route) -> None:
    assert world.ask(route, None).status_code in (200, 503)


@named(GUARDED)
def test_the_configured_key_opens_everything(world: World, route: Route) -> None:
    assert world.ask(route, BOOTSTRAP).status_code < 500
    assert world.ask(route, BOOTSTRAP).status_code not in (401, 403)


def test_a_revoked_key_is_refused_from_the_next_request_on(world: World) -> None:
    key, route = world.key("generate"), ("GET", "/v1/models")
    assert world.ask(route, key).status_code == 200
    with world.database.writing() as session:
        keys.revoke(session, SOMEBODY, key[:16])
    assert world.ask(route, key).status_code == 401


def test_the_use_of_a_key_is_noted_and_reading_waits_for_no_writer(world: World) -> None:
    key = world.key("generate")

    def last_used() -> object:
        with world.database.reading() as session:
            row = keys.find(session, key)
            assert row is not None
            return row.last_used_at

    with world.database.writing():
        for _ in range(2):
            assert world.ask(("GET", "/v1/models"), key).status_code == 200
        assert last_used() is None
    wait_until(last_used, "the use is noted")


def test_models_that_do_not_exist_look_like_those_of_others(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.key('edit', models=[MODEL])}"}
    answers = [world.api.http.get(f"/v1/models/{name}", headers=headers) for name in (OTHER, "nothing")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].text.replace(OTHER, "…") == answers[1].text.replace("nothing", "…")
    assert (
        OTHER
        not in world.api.http.post("/v1/edits", json={"model": "tiny@v9", "facts": [fact()]}, headers=headers).text
    )


def test_a_key_for_one_model_need_not_name_it_to_the_tokenizer(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.key('generate', models=[MODEL])}"}
    assert world.api.http.get("/tokenizer_info", headers=headers).json()["model"] == MODEL


def test_only_admins_move_what_is_protected(world: World) -> None:
    path, body = f"/v1/models/{OTHER}/aliases/production", {"version": "v0", "protected": True}
    admin, editor, stranger = (
        {"Authorization": f"Bearer {key}"}
        for key in (world.key("admin", models=[OTHER]), world.key("edit"), world.key("admin", models=[MODEL]))
    )
    assert world.api.http.put(path, json=body, headers=editor).json()["code"] == "alias_protected"
    assert world.api.http.put(path, json=body, headers=stranger).json()["code"] == "model_not_granted"
    assert world.api.http.put(path, json=body, headers=admin).status_code == 200
    for headers, status in ((editor, 403), (stranger, 403), (admin, 200)):
        assert world.api.http.put(path, json={"version": "v1"}, headers=headers).status_code == status
    on_it = {"model": f"{OTHER}@production", "facts": [fact()]}
    assert world.api.http.post("/v1/edits", json=on_it, headers=editor).json()["code"] == "alias_protected"
    assert world.api.http.delete(path, headers=editor).status_code == 403
    assert world.api.http.delete(path, headers=admin).status_code == 204
