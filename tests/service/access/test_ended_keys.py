"""A key that is revoked, deleted or expired ends what is being read with it, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import delete, event, update

from api_schemas.edits import FINAL_STATES
from cli.supervision.private_redis import PrivateRedis
from configuration.redis.generation_messages import (
    EndEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    TokensEvent,
)
from configuration.redis.keys import cancelled_key
from service.access import watch
from service.access.caller import Caller, bootstrap, local
from service.errors import UnauthorizedError
from store.access import keys
from store.access.audit import Actor
from store.clock import now
from store.schema.access_tables import KeyRow
from store.schema.database import Database
from store.schema.tables import ModelRow
from store.work import batches
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, wait_until
from tests.service.models.test_endpoints import publish
from tests.support.stand_in_worker import StandInWorker

SOMEBODY = Actor("cli:ada")
FIRST = "the-key-of-the-configuration"


def revoked(database: Database, key_id: str) -> None:
    with database.writing() as session:
        keys.revoke(session, SOMEBODY, key_id)


def deleted(database: Database, key_id: str) -> None:
    with database.writing() as session:
        session.execute(delete(KeyRow).where(KeyRow.id == key_id))


def expired(database: Database, key_id: str) -> None:
    with database.writing() as session:
        session.execute(update(KeyRow).where(KeyRow.id == key_id).values(expires_at=now() - timedelta(seconds=1)))


ENDS = pytest.mark.parametrize(
    ("end", "says"), [(revoked, "was revoked"), (deleted, "was deleted"), (expired, "expired at")]
)
End = Callable[[Database, str], None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)


@pytest.fixture
def api(serve: Callable[..., Api], model: str) -> Api:
    return serve(auth="on", api_key=SecretStr(FIRST))


@pytest.fixture
def key(database: Database) -> str:
    with database.writing() as session:
        return keys.create(session, SOMEBODY, label="a", scopes=("generate", "edit"))[1]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def data_of(response: httpx.Response) -> Iterator[str]:
    return (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: "))


class Endless:
    """What a worker says: one token, and no more until it is told to finish."""

    def __init__(self) -> None:
        self.finish = False

    def __call__(self, request: GenerationRequest) -> Iterable[GenerationEvent]:
        yield TokensEvent(choice=0, text=" first", count=1)
        wait_until(lambda: self.finish, "the worker may finish")
        yield FinishEvent(choice=0, reason="stop")
        yield EndEvent(version=request.version)


@ENDS
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/completions", {"prompt": "Lyon"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Lyon"}]}),
    ],
)
def test_a_stream_of_text(
    api: Api,
    worker: StandInWorker,
    database: Database,
    redis_server: PrivateRedis,
    key: str,
    path: str,
    asked: dict[str, object],
    end: End,
    says: str,
) -> None:
    if "messages" in asked:
        with database.writing() as session:
            session.execute(update(ModelRow).values(chat_template="{{ messages[0]['content'] }}"))
    worker.script = endless = Endless()
    body = {"model": MODEL, "stream": True, "max_tokens": 4, **asked}
    with api.http.stream("POST", path, json=body, headers=bearer(key)) as response:
        found = data_of(response)
        while "first" not in next(found):
            pass
        end(database, keys.id_in(key))
        (last,) = found
    error = json.loads(last)["error"]
    assert (error["code"], error["type"]) == ("unauthorized", "invalid_request_error")
    assert says in error["message"]
    with redis.Redis.from_url(redis_server.url) as queue:
        wait_until(lambda: queue.exists(cancelled_key(worker.seen[0].id)), "the worker need not go on")
    endless.finish = True


@ENDS
def test_an_answer_that_is_not_streamed(
    api: Api, worker: StandInWorker, database: Database, key: str, end: End, says: str
) -> None:
    def ends_then_waits(request: GenerationRequest) -> Iterable[GenerationEvent]:
        end(database, keys.id_in(key))
        yield from endless(request)

    endless = Endless()
    worker.script = ends_then_waits
    answer = api.http.post("/v1/completions", json={"model": MODEL, "prompt": "Lyon"}, headers=bearer(key))
    assert answer.status_code == 401
    assert says in answer.json()["error"]["message"]
    endless.finish = True


@ENDS
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/edits", {"model": MODEL, "facts": [fact()]}),
        ("GET", "/v1/edits/{edit}", None),
        ("POST", "/v1/evaluations", {"model": MODEL, "facts": [fact()]}),
        ("POST", "/v1/statistics", {"model": MODEL}),
        ("GET", f"/v1/models/{MODEL}/versions/v1/export", None),
    ],
)
def test_an_answer_that_waits_for_work_to_end(
    api: Api, database: Database, method: str, path: str, body: dict[str, object] | None, end: End, says: str
) -> None:
    with database.writing() as session:
        key = keys.create(session, SOMEBODY, label="a", scopes=("evaluate", "edit", "admin"))[1]
    api.http.headers.update(bearer(FIRST))
    edit = publish(api, database) if "export" in path else api.edit().json()["id"]
    headers = {**bearer(key), "Prefer": "wait=60"}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            httpx.request, method, api.url + path.format(edit=edit), json=body, headers=headers, timeout=30
        )
        wait_until(lambda: keys.id_in(key) in api.resources.watch._looked_at, "it waits")
        end(database, keys.id_in(key))
        answer = asked.result()
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert says in answer.json()["detail"]


@BOTH_DATABASES
@ENDS
def test_a_stream_of_a_batch(api: Api, database: Database, key: str, end: End, says: str) -> None:
    accepted = api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=bearer(key))
    with api.http.stream("GET", f"/v1/edits/{accepted.json()['id']}/events", headers=bearer(key)) as response:
        lines = (line for line in response.iter_lines() if line)
        while "queued" not in next(lines):
            pass
        end(database, keys.id_in(key))
        *_, name, data = lines
    assert name == "event: error"
    problem = json.loads(data.removeprefix("data: "))
    assert (problem["status"], problem["code"]) == (401, "unauthorized")
    assert says in problem["detail"]
    assert problem["instance"].endswith("/events")


def test_streams_of_other_keys_go_on(api: Api, database: Database, key: str) -> None:
    accepted = api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=bearer(key)).json()
    with database.writing() as session:
        other = keys.create(session, SOMEBODY, label="b", scopes=("edit",))[1]
    for good in (other, FIRST):
        with api.http.stream("GET", f"/v1/edits/{accepted['id']}/events", headers=bearer(good)) as response:
            lines = response.iter_lines()
            while "queued" not in next(lines):
                pass
            revoked(database, keys.id_in(key))
            with database.writing() as session:
                batch = batches.get(session, accepted["id"])
                if batch.state not in FINAL_STATES:
                    batches.set_state(session, batch, "cancelled")
            assert "error" not in [line.removeprefix("event: ") for line in lines if line.startswith("event")]


def test_all_answers_of_a_key_ask_sql_about_it_once_in_a_while(
    database: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.4)
    asked: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def _count(
        _connection: object, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
    ) -> None:
        if "FROM api_keys" in statement:
            asked.append(statement)

    mine = Caller(keys.id_in(key), frozenset({"generate"}))

    async def read_on(guard: watch.KeyWatch) -> None:
        for _ in range(1000):
            guard.check(mine)
            await asyncio.sleep(0.01)

    async def many() -> None:
        guard = watch.KeyWatch(database)
        for _ in range(50):
            guard.check(mine)
            await asyncio.sleep(0.001)
        assert len(asked) == 1
        revoked(database, mine.id)
        await asyncio.sleep(0.5)
        with pytest.raises(UnauthorizedError, match="was revoked"):
            await read_on(guard)
        assert len(asked) == 3, "the revocation itself, and one look"
        for caller in (local(None), bootstrap(None)):
            guard.check(caller)

    asyncio.run(many())


def test_what_has_begun_outlasts_a_database_that_is_away(key: str) -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    mine = Caller(keys.id_in(key), frozenset({"generate"}))

    async def looked() -> None:
        guard = watch.KeyWatch(away)
        guard.check(mine)
        while guard._looking:
            await asyncio.sleep(0.01)
        guard.check(mine)

    asyncio.run(looked())
    away.close()
