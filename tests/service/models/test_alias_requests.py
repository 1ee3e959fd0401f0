"""Two-person approval: what one key asks for another one approves, and nothing moves in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api_schemas.access import Scope
from store.access import audit, keys
from store.access.audit import Actor
from store.clock import now
from store.errors import AliasApprovalError
from store.lineage import alias_requests, aliases
from store.lineage import versions as lineage
from store.schema.alias_tables import AliasRequestRow
from store.schema.database import Database
from store.work import batches, lines
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import publish
from tests.store.conftest import publish as publish_batch

pytestmark = BOTH_DATABASES

ALIAS = f"/v1/models/{MODEL}/aliases/production"
REQUESTS = f"/v1/models/{MODEL}/alias-requests"
Ask = Callable[..., httpx.Response]


class Office:
    """Two administrators and an editor, by the texts of their keys; `production` at v1 demands approval."""

    def __init__(self, api: Api, database: Database) -> None:
        self.api = api
        self.database = database
        self.ids: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        scopes: dict[str, Scope] = {"ada": "admin", "bob": "admin", "eve": "edit"}
        for name, scope in scopes.items():
            with database.writing() as session:
                row, text = keys.create(session, Actor("cli:ada"), label=name, scopes=[scope])
            self.ids[name], self._texts[name] = row.id, text

    def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._texts[who]}"}
        return self.api.http.request(method, path, json=body, headers=headers)

    def move(self, who: str, version: str, **fields: Any) -> httpx.Response:
        return self.ask(who, "PUT", ALIAS, {"version": version, **fields})

    def asked(self, who: str, version: str, **fields: Any) -> str:
        """The id of the request that a move became."""
        answer = self.move(who, version, **fields)
        assert answer.status_code == 202, answer.text
        found: str = answer.json()["request"]["id"]
        assert answer.headers["location"] == f"{REQUESTS}/{found}"
        return found

    def decide(self, who: str, how: str, request: str, reason: str | None = None) -> httpx.Response:
        return self.ask(who, "POST", f"{REQUESTS}/{request}/{how}", None if reason is None else {"reason": reason})

    @property
    def stands(self) -> str:
        with self.database.reading() as session:
            row = lineage.alias_named(session, MODEL, "production")
            assert row is not None
            return f"v{row.version}"


@pytest.fixture
def office(serve: Callable[..., Api], model: str, database: Database) -> Office:
    api = serve(api_key=SecretStr("secret"))
    api.http.headers["Authorization"] = "Bearer secret"
    for _ in range(3):
        publish(api, database)
    made = Office(api, database)
    assert made.move("ada", "v1", approval=True).json()["approval"] is True
    assert made.ask("eve", "GET", f"/v1/models/{MODEL}/aliases").json()["data"][1]["protected"] is True
    return made


@pytest.mark.parametrize("who", ["ada", "eve"])
def test_a_move_waits_for_another_key_and_then_happens(office: Office, who: str) -> None:
    request = office.asked(who, "v2", reason="holds on our prompts")

    assert office.stands == "v1"
    shown = office.ask("bob", "GET", f"{REQUESTS}/{request}").json()
    assert (shown["state"], shown["version"], shown["expected"]) == ("open", "v2", "v1")
    assert (shown["requested_by"], shown["requested_label"]) == (office.ids[who], who)
    assert office.ask("bob", "GET", f"{REQUESTS}?state=open&alias=production").json()["data"] == [shown]
    listed = office.ask("bob", "GET", f"/v1/models/{MODEL}/aliases").json()["data"]
    assert [one["request"] for one in listed if one["alias"] == "production"] == [shown]

    approved = office.decide("bob", "approve", request, "read it")

    assert approved.status_code == 200, approved.text
    assert office.stands == "v2"
    assert (approved.json()["state"], approved.json()["decided_by"], approved.json()["decision"]) == (
        "approved",
        office.ids["bob"],
        "read it",
    )
    with office.database.reading() as session:
        (asked,) = audit.page(session, None, 9, action="alias.requested")
        (agreed,) = audit.page(session, None, 9, action="alias.approved")
        moved = audit.page(session, None, 9, action="alias.moved")[0]
    assert (asked.actor, agreed.actor, moved.actor) == (office.ids[who], office.ids["bob"], office.ids["bob"])
    assert (agreed.details["requested_by"], agreed.details["reason"], agreed.details["decision"]) == (
        office.ids[who],
        "holds on our prompts",
        "read it",
    )
    assert moved.details["requested_by"] == office.ids[who]


def test_the_key_that_asked_never_approves(office: Office) -> None:
    request = office.asked("ada", "v2")
    answer = office.decide("ada", "approve", request)
    assert (answer.status_code, answer.json()["code"]) == (403, "same_key")
    assert office.ids["ada"] in answer.json()["detail"]
    assert office.stands == "v1"
    assert office.decide("eve", "approve", request).status_code == 403, "nor does one without the scope"
    assert office.asked("ada", "v2") == request, "asking again is the same request"


def test_nobody_gets_around_it_alone(office: Office) -> None:
    """Not by taking approval or protection away, not by deleting the alias, and not in the store."""
    for change in ({"approval": False}, {"protected": False}, {"protected": False, "version": "v2"}):
        answer = office.ask("ada", "PUT", ALIAS, change)
        assert (answer.status_code, answer.json()["approval"]) == (202, True)
        assert office.ask("eve", "PUT", ALIAS, change).status_code == 403
    deleted = office.ask("ada", "DELETE", ALIAS)
    assert (deleted.status_code, deleted.json()["code"]) == (409, "alias_needs_approval")
    with office.database.writing() as session, pytest.raises(AliasApprovalError):
        aliases.put(session, MODEL, "production", 2, None, admin=True)
    assert office.stands == "v1"
    request = office.ask("ada", "PUT", ALIAS, {"approval": False}).json()["request"]["id"]
    assert office.decide("bob", "approve", request).status_code == 200
    moved = office.move("ada", "v3")
    assert (moved.status_code, moved.json()["approval"], moved.json()["protected"]) == (200, False, True)


def test_compare_and_set_holds_when_it_is_approved(office: Office) -> None:
    wrong = office.move("ada", "v2", expected="v3")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "alias_moved")
    first, second = office.asked("ada", "v2"), office.asked("eve", "v3")

    assert office.decide("bob", "approve", first).status_code == 200

    late = office.decide("ada", "approve", second)
    assert (late.status_code, late.json()["code"]) == (409, "alias_request_closed")
    assert "is stale" in late.json()["detail"]
    assert office.stands == "v2"
    with office.database.writing() as session:  # and where nobody marked it
        session.get_one(AliasRequestRow, second).state = "open"
    late = office.decide("ada", "approve", second)
    assert (late.status_code, late.json()["code"]) == (409, "alias_moved")


def test_it_is_refused_withdrawn_or_expires(office: Office) -> None:
    refused, withdrawn, late = office.asked("ada", "v2"), office.asked("eve", "v3"), office.asked("eve", "v2")

    assert office.decide("eve", "refuse", refused).status_code == 403
    answer = office.decide("bob", "refuse", refused, "not before Monday")
    assert (answer.json()["state"], answer.json()["decision"]) == ("refused", "not before Monday")
    assert office.decide("eve", "refuse", withdrawn).json()["state"] == "withdrawn"
    with office.database.writing() as session:
        session.get_one(AliasRequestRow, late).expires_at = now() - timedelta(seconds=1)
    for request, state in ((refused, "refused"), (withdrawn, "withdrawn"), (late, "expired")):
        answer = office.decide("bob", "approve", request)
        assert (answer.status_code, answer.json()["code"]) == (409, "alias_request_closed")
        assert state in answer.json()["detail"]
        assert [one["id"] for one in office.ask("bob", "GET", f"{REQUESTS}?state={state}").json()["data"]] == [request]
    assert office.ask("bob", "GET", f"{REQUESTS}?state=open").json()["data"] == []
    assert office.stands == "v1"


def test_only_so_many_wait(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias_requests, "MOST_OPEN", 1)
    office.asked("ada", "v2")
    answer = office.move("eve", "v2")
    assert (answer.status_code, answer.json()["code"]) == (409, "alias_request_limit")
    edit = office.ask("eve", "POST", "/v1/edits", {"model": f"{MODEL}@production", "facts": [fact()]})
    assert (edit.status_code, edit.json()["code"]) == (409, "alias_request_limit")


def test_an_edit_is_published_and_asks_for_the_move(office: Office) -> None:
    answer = office.ask("eve", "POST", "/v1/edits", {"model": f"{MODEL}@production", "facts": [fact(7)]})
    assert answer.status_code == 202, answer.text
    with office.database.writing() as session:
        lines.advance(session)
        batch = batches.get(session, answer.json()["id"])
        assert batch.base_version == 1
        published = publish_batch(session, batch)
    assert (published.number, published.parent) == (4, 1)
    assert office.stands == "v1"

    (request,) = office.ask("ada", "GET", f"{REQUESTS}?state=open").json()["data"]
    assert (request["version"], request["expected"], request["edit"]) == ("v4", "v1", batch.id)
    assert request["requested_by"] == office.ids["eve"]
    assert office.decide("ada", "approve", request["id"]).status_code == 200
    assert office.stands == "v4"


def test_approval_that_is_demanded_while_a_batch_runs_holds_it_back_too(office: Office) -> None:
    latest = f"/v1/models/{MODEL}/aliases/latest"
    edit = office.ask("ada", "POST", "/v1/edits", {"model": MODEL, "facts": [fact(8)]}).json()["id"]
    with office.database.writing() as session:
        lines.advance(session)
    assert office.ask("bob", "PUT", latest, {"approval": True}).status_code == 200
    with office.database.writing() as session:
        publish_batch(session, batches.get(session, edit))
    with office.database.reading() as session:
        row = lineage.alias_named(session, MODEL, "latest")
        assert row is not None
        assert row.version == 3
        assert [one.edit for one in alias_requests.open_of(session, row)] == [edit]


def test_without_keys_nobody_approves(office: Office, serve: Callable[..., Api]) -> None:
    request = office.asked("ada", "v2")
    keyless = serve()
    answer = keyless.http.post(f"{REQUESTS}/{request}/approve")
    assert (answer.status_code, answer.json()["code"]) == (403, "alias_protected")
    assert office.stands == "v1"


def test_what_makes_no_sense_is_refused(office: Office) -> None:
    answer = office.ask("ada", "PUT", ALIAS, {"approval": True, "protected": False})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert (
        office.ask("eve", "PUT", f"/v1/models/{MODEL}/aliases/new", {"version": "v1", "approval": True}).json()["code"]
        == "alias_protected"
    )
    unknown = office.decide("bob", "approve", "move_x")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "alias_request_not_found")
    request = office.asked("ada", "v2")
    assert office.decide("bob", "approve", request, "x" * 501).status_code == 422
    assert office.ask("ada", "PUT", ALIAS, {"version": "v9"}).status_code == 404
