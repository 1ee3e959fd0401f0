"""Receivers as clients register them, and what they are told: in the transaction in which it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook

from api_schemas.metrics import LINE_WORN
from api_schemas.references import ModelReference
from store.access import audit
from store.lineage import telling
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.webhook_tables import WebhookMessageRow
from store.webhooks import outbox, registrations
from store.work import batches, lifecycle
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, wait_until
from tests.service.delivery.receiver import Receiver, receiver
from tests.service.models.test_endpoints import publish

pytestmark = BOTH_DATABASES


@pytest.fixture
def listening() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def local(serve: Callable[..., Api], model: str) -> Api:
    """A server that may send to loopback."""
    return serve(webhook_networks="127.0.0.0/8")


def registered(api: Api, url: str, **fields: Any) -> dict[str, Any]:
    answer = api.http.post("/v1/webhooks", json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/webhooks/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


def log_of(api: Api, webhook: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.http.get(f"/v1/webhooks/{webhook['id']}/deliveries", params=query).json()["data"]
    return found


def test_an_edit_is_told_from_its_version_to_its_end(local: Api, listening: Receiver, database: Database) -> None:
    webhook = registered(local, listening.url)
    verifier = Webhook(webhook["secret"])

    edit = publish(local, database)
    wait_until(lambda: len(listening.seen) == 3, "three things are told")

    said = [verifier.verify(one.body, one.headers) for one in listening.seen]
    assert [one["type"] for one in said] == ["version.published", "alias.moved", "edit.finished"]
    assert said[0]["data"] == {
        "model": MODEL,
        "version": "v1",
        "parent": "v0",
        "edit": edit,
        "alias": "latest",
        "facts": 2,
        "consolidates": None,
    }
    assert said[1]["data"] == {"model": MODEL, "alias": "latest", "version": "v1", "before": "v0", "edit": edit}
    assert (said[2]["data"]["edit"], said[2]["data"]["state"], said[2]["data"]["error"]) == (edit, "succeeded", None)
    wait_until(lambda: len(log_of(local, webhook, state="delivered")) == 3, "the log knows")
    log = log_of(local, webhook)
    assert [one["type"] for one in log] == ["edit.finished", "alias.moved", "version.published"]
    assert [one["message"] for one in reversed(log)] == [one.id for one in listening.seen]
    assert {(one["state"], one["attempts"], one["status"], one["model"]) for one in log} == {
        ("delivered", 1, 204, MODEL)
    }
    shown = local.http.get(f"/v1/webhooks/{webhook['id']}").json()
    assert (shown["state"], shown["waiting"], shown["failures"]) == ("active", 0, 0)
    assert shown["last_success_at"] is not None


def test_only_what_was_asked_for_is_told(local: Api, listening: Receiver, database: Database) -> None:
    registered(local, listening.url, events=["alias.moved"], model=MODEL)
    publish(local, database)
    local.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": "v0"})
    local.http.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": "v0"})
    local.http.put(f"/v1/models/{MODEL}/aliases/stage", json={"version": "v1"})
    wait_until(lambda: len(listening.seen) == 3, "three moves are told")
    with database.reading() as session:
        assert [row.type for row, _ in _log(session)] == ["alias.moved"] * 3
        moves = [message.data for _, message in reversed(_log(session))]
    assert [(one["alias"], one["before"], one["version"]) for one in moves] == [
        ("latest", "v0", "v1"),
        ("latest", "v1", "v0"),
        ("stage", None, "v1"),
    ]


def _log(session: Any) -> Any:
    from store.webhooks import deliveries

    (row,) = registrations.page(session, None, 9, None)
    return deliveries.page(session, row.id, None, 100)


def test_what_did_not_happen_is_not_told(local: Api, database: Database) -> None:
    """The outbox commits with the event, or not at all."""
    webhook = registered(local, "http://127.0.0.1:9/")
    edit = local.edit().json()["id"]

    def end_and_break() -> None:
        with database.writing() as session:
            lifecycle.end(session, batches.get(session, edit), "failed", {"code": "x", "detail": "about Ada"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        end_and_break()
    assert log_of(local, webhook) == []
    with database.writing() as session:
        lifecycle.end(session, batches.get(session, edit), "failed", {"code": "x", "detail": "about Ada"})
        lifecycle.end(session, batches.get(session, edit), "failed", {"code": "y"})
    (one,) = log_of(local, webhook)
    assert (one["type"], one["data"]["state"], one["data"]["error"]) == ("edit.finished", "failed", "x")
    assert "Ada" not in str(one), "what an error says may quote a fact"


def test_a_line_that_wears_is_told_once(local: Api, database: Database) -> None:
    webhook = registered(local, "http://127.0.0.1:9/", events=["line.worn"])
    for _ in range(3):
        publish(local, database)
    worn = {"warnings": [{"code": LINE_WORN, "detail": "", "facts": []}]}
    with database.writing() as session:
        first, second, third = (lineage.get(session, MODEL, number) for number in (1, 2, 3))
        second.metrics, third.metrics = worn, worn
        for row in (first, second, third):
            telling.line_worn(session, row, "latest")
    (one,) = log_of(local, webhook)
    assert one["data"] == {"model": MODEL, "version": "v2", "edit": second.batch_id, "alias": "latest"}


def test_a_secret_is_told_once_and_rotated(local: Api, listening: Receiver, database: Database) -> None:
    webhook = registered(local, listening.url)
    path = f"/v1/webhooks/{webhook['id']}"
    assert webhook["secret"].startswith("whsec_")
    for answer in (
        local.http.get(path),
        local.http.get("/v1/webhooks"),
        local.http.patch(path, json={"events": ["line.worn"]}),
    ):
        assert "secret" not in answer.text

    rotated = local.http.post(f"{path}/rotate").json()["secret"]
    local.http.post(f"{path}/test")
    wait_until(lambda: listening.seen, "the test arrives")

    assert rotated != webhook["secret"]
    (seen,) = listening.seen
    for good in (rotated, webhook["secret"]):
        assert Webhook(good).verify(seen.body, seen.headers)["type"] == "webhook.test"
    with database.reading() as session:
        for entry in audit.page(session, None, 100):
            assert "whsec_" not in str(entry.details)
            assert "/hook" not in str(entry.details), "an address may hold what opens the receiver"


def test_the_test_button_works_also_on_one_that_is_paused(local: Api, listening: Receiver, database: Database) -> None:
    webhook = registered(local, listening.url)
    path = f"/v1/webhooks/{webhook['id']}"
    assert local.http.patch(path, json={"paused": True}).json()["state"] == "paused"
    publish(local, database)
    listening.answer = lambda received: 418

    told = local.http.post(f"{path}/test")
    assert (told.status_code, told.json()["state"], told.json()["type"]) == (202, "pending", "webhook.test")
    wait_until(lambda: log_of(local, webhook, state="given_up"), "it was tried")

    (one,) = log_of(local, webhook, state="given_up")
    assert (one["message"], one["status"], one["error"], one["attempts"]) == (
        told.json()["message"],
        418,
        "answered 418",
        1,
    )
    assert len(listening.seen) == 1
    shown = local.http.get(path).json()
    assert (shown["state"], shown["pause_reason"], shown["waiting"]) == ("paused", "paused on request", 3)
    listening.answer = lambda received: 204
    assert local.http.patch(path, json={"paused": False}).json()["state"] == "active"
    wait_until(lambda: len(listening.seen) == 4, "what has waited is sent")


def test_one_that_is_down_is_shown_as_failing(local: Api, listening: Receiver, database: Database) -> None:
    listening.answer = lambda received: 503
    webhook = registered(local, listening.url)
    publish(local, database)
    path = f"/v1/webhooks/{webhook['id']}"
    wait_until(lambda: local.http.get(path).json()["state"] == "failing", "it is seen")
    shown = local.http.get(path).json()
    assert (shown["last_error"], shown["waiting"]) == ("answered 503", 3)
    pending = log_of(local, webhook, state="pending")
    attempts = sorted(one["attempts"] for one in pending)
    assert attempts[:2] == [0, 0], "the others wait for the first"
    assert attempts[2] > 0
    text = local.http.get("/metrics").text
    assert 'emmetd_webhooks{state="failing"} 1.0' in text
    assert "emmetd_webhook_deliveries_waiting 3.0" in text


def test_more_than_is_kept_is_told_of_in_the_log(
    local: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_WAITING", 2)
    webhook = registered(local, "http://127.0.0.1:9/")
    local.http.patch(f"/v1/webhooks/{webhook['id']}", json={"paused": True})
    publish(local, database)
    dropped = log_of(local, webhook, state="dropped")
    assert [(one["type"], one["error"]) for one in dropped] == [
        ("edit.finished", "more than 2 deliveries waited already")
    ]


def test_lists_are_paged_and_receivers_deleted(local: Api, database: Database) -> None:
    made = [registered(local, f"http://127.0.0.1:9/{number}")["id"] for number in range(3)]
    publish(local, database)
    first = local.http.get("/v1/webhooks?limit=2").json()
    rest = local.http.get("/v1/webhooks", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == made
    path = f"/v1/webhooks/{made[0]}/deliveries"
    page = local.http.get(f"{path}?limit=2").json()
    rest = local.http.get(path, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [len(page["data"]), len(rest["data"])] == [2, 1]
    assert local.http.delete(f"/v1/webhooks/{made[0]}").status_code == 204
    gone = local.http.get(f"/v1/webhooks/{made[0]}")
    assert (gone.status_code, gone.json()["code"]) == (404, "webhook_not_found")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "no public address"),
        ({"url": "https://[::1]/"}, "no public address"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "no public address"),
        ({"url": "ftp://1.1.1.1/"}, "must begin with https://"),
        ({"url": "http://1.1.1.1/"}, "could be read on its way"),
        ({"url": "https://1.1.1.1/", "events": []}, "at least 1"),
        ({"url": "https://1.1.1.1/", "events": ["alias.deleted"]}, "known: "),
        ({"url": "https://1.1.1.1/", "secret": "mine"}, "known: url, events, model, description"),
        ({}, "url"),
    ],
)
def test_what_cannot_be_told_is_refused(local: Api, body: dict[str, Any], says: str) -> None:
    answer = local.http.post("/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert says in answer.text


def test_an_address_is_looked_at_again_when_it_is_changed(local: Api) -> None:
    webhook = registered(local, "https://1.1.1.1/")
    answer = local.http.patch(f"/v1/webhooks/{webhook['id']}", json={"url": "https://10.0.0.1/"})
    assert answer.status_code == 422
    assert local.http.post("/v1/webhooks", json={"url": "https://1.1.1.1/", "model": "huge"}).status_code == 404


def test_there_are_only_so_many(local: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "MOST_WEBHOOKS", 1)
    registered(local, "https://1.1.1.1/")
    answer = local.http.post("/v1/webhooks", json={"url": "https://1.1.1.1/"})
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_limit")


def test_a_key_for_one_model_has_webhooks_of_that_model(
    serve: Callable[..., Api], model: str, database: Database
) -> None:
    from store.access import keys
    from store.access.audit import Actor

    api = serve(api_key=SecretStr("secret"))
    with database.writing() as session:
        _, text = keys.create(session, Actor("cli:ada"), label="a", scopes=["admin"], models=[MODEL])

    def ask(method: str, path: str, key: str, body: Any = None) -> httpx.Response:
        return api.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})

    everything = ask("POST", "/v1/webhooks", "secret", {"url": "https://1.1.1.1/"}).json()["id"]
    assert ask("POST", "/v1/webhooks", text, {"url": "https://1.1.1.1/"}).status_code == 403
    own = ask("POST", "/v1/webhooks", text, {"url": "https://1.1.1.1/", "model": MODEL}).json()["id"]
    assert [one["id"] for one in ask("GET", "/v1/webhooks", text).json()["data"]] == [own]
    assert ask("GET", f"/v1/webhooks/{everything}", text).status_code == 403
    assert ask("POST", f"/v1/webhooks/{everything}/rotate", text).status_code == 403


def test_a_version_that_nobody_is_told_of_writes_nothing(api: Api, database: Database) -> None:
    publish(api, database)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(WebhookMessageRow)) == 0
        assert lineage.resolve(session, ModelReference(MODEL, alias="latest")).number == 1
