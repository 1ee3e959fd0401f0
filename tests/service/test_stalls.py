"""What one key does holds up nobody else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from service.diffs import service as diffs
from service.edits import service as edits
from service.evaluations import service as evaluations
from service.models import service as models
from store.access import keys
from store.access.audit import Actor
from store.schema.database import Database
from tests.service.conftest import MODEL, Api, fact, wait_until

POOL = 40
"""Threads that an event loop's pool has, unless it is told otherwise."""


class Gate:
    """What requests are held at until it opens; `waiting` of them are in it."""

    def __init__(self) -> None:
        self.opens = threading.Event()
        self.waiting = 0
        self.most = 0
        self._lock = threading.Lock()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*given: Any, **named: Any) -> Any:
            with self._lock:
                self.waiting += 1
                self.most = max(self.most, self.waiting)
            assert self.opens.wait(60)
            with self._lock:
                self.waiting -= 1
            return function(*given, **named)

        return held


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opens.set()


@pytest.fixture
def api(serve: Callable[..., Api], model: str) -> Api:
    return serve(auth="on")


@pytest.fixture
def make_key(database: Database) -> Callable[[], dict[str, str]]:
    def make() -> dict[str, str]:
        with database.writing() as session:
            _, text = keys.create(session, Actor("cli:ada"), label="a", scopes=("generate", "edit", "evaluate"))
        return {"Authorization": f"Bearer {text}"}

    return make


def test_keys_are_looked_at_while_all_threads_of_the_pool_are_taken(
    api: Api, make_key: Callable[[], dict[str, str]], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "all_cards", gate.before(models.all_cards))
    one, other = make_key(), make_key()
    with ThreadPoolExecutor(POOL + 5) as pool:
        asked = [
            pool.submit(httpx.get, f"{api.url}/v1/models", headers=one, timeout=60, trust_env=False)
            for _ in range(POOL + 5)
        ]
        wait_until(lambda: gate.waiting == POOL, "the pool is full")

        assert api.http.get("/v1/keys", headers=other).status_code == 403, "a good key without the scope"
        wrong = {"Authorization": "Bearer emk_0123456789ab_" + "x" * 43}
        assert api.http.get("/v1/keys", headers=wrong).status_code == 401

        gate.opens.set()
        assert {answer.result().status_code for answer in asked} == {200}


@pytest.mark.parametrize("what", ["comparisons", "reports"])
def test_forty_slow_answers_of_one_key_leave_room_for_another(
    api: Api, make_key: Callable[[], dict[str, str]], gate: Gate, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    one, other = make_key(), make_key()
    path = f"/v1/models/{MODEL}/diff?from=v0&to=v0"
    if what == "comparisons":
        monkeypatch.setattr(diffs, "diff", gate.before(diffs.diff))
    else:
        monkeypatch.setattr(evaluations, "report", gate.before(evaluations.report))
        asked = {"model": MODEL, "facts": [fact()], "metrics": ["ES"]}
        path = f"/v1/evaluations/{api.http.post('/v1/evaluations', json=asked, headers=one).json()['id']}/report"

    def ask(headers: dict[str, str]) -> httpx.Response:
        return httpx.get(api.url + path, headers=headers, timeout=60, trust_env=False)

    with ThreadPoolExecutor(POOL + 1) as pool:
        answers = [pool.submit(ask, one) for _ in range(POOL)]
        wait_until(lambda: sum(answer.done() for answer in answers) == POOL - 4, "all but four are refused")
        assert api.http.get("/v1/models", headers=other).status_code == 200
        others = pool.submit(ask, other)
        gate.opens.set()

        assert Counter(answer.result().status_code for answer in answers) == {200: 4, 429: POOL - 4}
        refused = next(answer.result() for answer in answers if answer.result().status_code == 429)
        assert refused.json()["code"] == "work_limit"
        assert f"try again in {refused.headers['retry-after']} s" in refused.json()["detail"]
        assert others.result().status_code == 200
    assert gate.most == 1, "more at once would be more memory at once"


def test_those_who_wait_for_work_to_end_leave_threads_to_the_others(
    api: Api, make_key: Callable[[], dict[str, str]], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "get", gate.before(edits.get))
    one, other = make_key(), make_key()

    def wait_for_an_edit(number: int) -> int:
        body = {"model": MODEL, "facts": [fact(number)]}
        headers = {**one, "Prefer": "wait=1"}
        return httpx.post(f"{api.url}/v1/edits", json=body, headers=headers, timeout=60, trust_env=False).status_code

    with ThreadPoolExecutor(POOL + 2) as pool:
        asked = pool.map(wait_for_an_edit, range(POOL + 2))
        wait_until(lambda: len(api.http.get("/v1/edits?limit=100", headers=other).json()["data"]) == POOL + 2, "kept")
        wait_until(lambda: gate.waiting, "they look")
        assert api.http.get("/v1/models", headers=other).status_code == 200
        gate.opens.set()
        assert set(asked) == {202}
    assert gate.most < POOL / 4
