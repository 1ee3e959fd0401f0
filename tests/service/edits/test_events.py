"""The life of a batch as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import event as sql_event

from service.edits import events as edit_events
from service.state import batch_feed
from store.access import keys
from store.access.audit import Actor
from store.schema.database import Database
from store.work import batches, events, lifecycle
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, wait_until

pytestmark = BOTH_DATABASES


@dataclass
class Event:
    name: str
    data: dict[str, Any]
    id: str | None


@contextmanager
def followed(api: Api, edit_id: str, after: str | None = None) -> Iterator[httpx.Response]:
    headers = {} if after is None else {"Last-Event-ID": after}
    with api.http.stream("GET", f"/v1/edits/{edit_id}/events", headers=headers) as response:
        yield response


def read(response: httpx.Response) -> Iterator[Event]:
    """The events of a stream, as a browser dispatches them: those with data."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        else:
            if "data" in fields:
                yield Event(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
            fields = {}


def names(found: list[Event]) -> list[str]:
    return [event.data["state"] if event.name == "state" else event.name for event in found]


def move(database: Database, edit_id: str, state: Any, **data: Any) -> None:
    with database.writing() as session:
        batches.set_state(session, batches.get(session, edit_id), state, **data)


@pytest.fixture
def edit_id(api: Api) -> str:
    found: str = api.edit().json()["id"]
    return found


@pytest.fixture
def ended(api: Api, database: Database, edit_id: str) -> str:
    move(database, edit_id, "planning", base_version=0)
    with database.writing() as session:
        events.append(session, edit_id, "rebased", {"from": "v0", "to": "v1"})
    move(database, edit_id, "succeeded", version=2)
    return edit_id


def test_a_batch_that_has_ended_tells_its_whole_life_at_once(api: Api, ended: str) -> None:
    with followed(api, ended) as response:
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
        assert response.headers["content-type"].startswith("text/event-stream")
        found = list(read(response))

    assert names(found) == ["queued", "planning", "rebased", "succeeded"]
    assert [event.data["edit"] for event in found] == [ended] * 4
    assert [event.data["details"] for event in found] == [
        {},
        {"base_version": "v0"},
        {"from": "v0", "to": "v1"},
        {"version": "v2"},
    ]
    assert [int(event.id or "") for event in found] == sorted(event.data["id"] for event in found)


def test_a_client_goes_on_after_the_last_event_that_it_has(api: Api, ended: str) -> None:
    with followed(api, ended) as response:
        first, second, *others = read(response)

    with followed(api, ended, first.id) as response:
        assert [event.id for event in read(response)] == [event.id for event in (second, *others)]
    with followed(api, ended, second.id) as response:
        assert list(read(response)) == others
    with followed(api, ended, others[-1].id) as response:
        assert response.status_code == 204, "else a browser would connect again and again"


def test_what_happens_is_told_as_it_happens_and_the_end_ends_the_stream(
    api: Api, database: Database, edit_id: str
) -> None:
    with followed(api, edit_id) as response:
        found = read(response)
        assert next(found).data["state"] == "queued"
        # The relay starts the batch by itself.
        planning = next(event for event in found if event.name == "state")
        assert (planning.data["state"], planning.data["details"]) == ("planning", {"base_version": "v0"})

        with database.writing() as session:
            lifecycle.set_progress(batches.get(session, edit_id), "optimising", 0.5, 1, 12.5)
        half = next(event for event in found if event.data.get("done") == 0.5)
        assert (half.name, half.id, half.data["edit"]) == ("progress", None, edit_id)
        assert (half.data["stage"], half.data["total"], half.data["eta_seconds"]) == ("optimising", 1, 12.5)

        with database.writing() as session:
            reason = {"code": "test", "title": "Test", "detail": "ended by the test", "facts": []}
            lifecycle.end(session, batches.get(session, edit_id), "failed", reason)
        (last,) = found
        assert (last.data["state"], last.data["details"]["error"]["code"]) == ("failed", "test")


def test_silence_is_filled_with_comments(
    api: Api, database: Database, edit_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_events, "KEEPALIVE_SECONDS", 0.0)
    with followed(api, edit_id) as response:
        lines = response.iter_lines()
        while not next(lines).startswith(":"):
            pass
        move(database, edit_id, "cancelled")
        assert any('"state":"cancelled"' in line for line in lines)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30])
def test_an_id_that_is_none_is_refused(api: Api, edit_id: str, after: str) -> None:
    with followed(api, edit_id, after) as response:
        problem = json.loads(response.read())

    assert (response.status_code, problem["code"]) == (400, "malformed_request")
    assert "Last-Event-ID" in problem["detail"]


def test_a_batch_that_is_not_there_is_a_404(api: Api) -> None:
    with followed(api, "edit_0") as response:
        assert json.loads(response.read())["code"] == "edit_not_found"
    assert response.status_code == 404


def states(response: httpx.Response) -> list[str]:
    return [event.data["state"] for event in read(response) if event.name == "state"]


def test_many_streams_share_one_look_and_hear_of_a_change_without_one(
    api: Api, edit_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_feed, "LOOK_SECONDS", 3600.0)
    streams, looks = 10, 0
    wait_until(lambda: api.http.get(f"/v1/edits/{edit_id}").json()["state"] == "planning", "the relay starts it")
    feed = api.resources.feed
    with ExitStack() as stack:
        opened = [stack.enter_context(followed(api, edit_id)) for _ in range(streams)]
        wait_until(lambda: edit_id in feed._followed, "it is followed")
        wait_until(lambda: len(feed._followed[edit_id].followers) == streams, "all streams follow")
        wait_until(lambda: all(one.latest for one in feed._followed[edit_id].followers), "all have been told")

        @sql_event.listens_for(api.resources.database.engine, "before_cursor_execute")
        def _count(
            _connection: object, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
        ) -> None:
            nonlocal looks
            looks += "FROM events" in statement

        move(api.resources.database, edit_id, "cancelled")
        with ThreadPoolExecutor(streams) as pool:
            found = list(pool.map(states, opened))
    assert found == [["queued", "planning", "cancelled"]] * streams
    assert 1 <= looks < streams
    wait_until(lambda: not feed._followed, "nobody follows any more")


def test_a_key_follows_so_many_streams_and_others_follow_theirs(
    serve: Callable[..., Api], model: str, database: Database
) -> None:
    api = serve(auth="on", key_event_streams=2)
    with database.writing() as session:
        texts = [keys.create(session, Actor("cli:ada"), label="a", scopes=("edit",))[1] for _ in range(2)]
    one, other = ({"Authorization": f"Bearer {text}"} for text in texts)
    sent = api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=one)
    path = f"/v1/edits/{sent.json()['id']}/events"
    with api.http.stream("GET", path, headers=one), api.http.stream("GET", path, headers=one) as second:
        refused = api.http.get(path, headers=one)
        assert (refused.status_code, refused.json()["code"]) == (429, "stream_limit")
        assert "may follow 2 event streams at a time" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0
        with api.http.stream("GET", path, headers=other) as response:
            assert response.status_code == 200
        second.close()
        wait_until(lambda: api.resources.streams._open.total() == 1, "its place is free again")
        with api.http.stream("GET", path, headers=one) as response:
            assert response.status_code == 200
