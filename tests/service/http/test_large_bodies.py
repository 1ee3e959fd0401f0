"""Bodies that are made to take memory and time: refused before they do, and few large ones at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import pytest
from fastapi import Request
from starlette.types import Message

from configuration.settings import Settings
from service.access.caller import Caller
from service.errors import BodyTooSlowError, BusyError, MalformedJSONError, TooLargeError
from service.facts import most_elements
from service.http import large_bodies
from service.http.bodies import parse_json
from service.http.large_bodies import LARGE_BYTES, LargeBodies
from tests.service.conftest import MODEL, Api

JSON = {"Content-Type": "application/json"}
MEBIBYTE = 1024**2

# Parses in a thread, as the server does, and prints the growth of its memory, in bodies, and what another thread did.
_PARSING = """
import resource, sys, threading
from service.http.bodies import parse_json, parse_ndjson
from service.errors import ServiceError
head, unit, joint, tail, parse = (text.encode().decode("unicode_escape").encode() for text in sys.argv[1:])
body = head + joint.join([unit] * (32 * 1024**2 // (len(unit) + len(joint)))) + tail
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
refused = []
def work():
    try:
        (parse_ndjson if parse == b"ndjson" else parse_json)(body)
    except ServiceError as error:
        refused.append(error.status)
thread = threading.Thread(target=work)
thread.start()
longest = 0.0
import time
seen = time.monotonic()
while thread.is_alive():
    time.sleep(0.01)
    longest, seen = max(longest, time.monotonic() - seen), time.monotonic()
print(refused[0], round((peak() - before) / len(body), 2), round(longest, 2))
"""


@pytest.mark.parametrize(
    "parts",
    [
        ('{"facts":[', "[]", ",", "]}", "json"),
        ('{"facts":[', "[[[[]]]]", ",", "]}", "json"),
        ('{"facts":[', '{"a":0}', ",", "]}", "json"),
        ("[" * 40, "[]", ",", "]" * 40, "json"),
        ("", "[[[[]]]]", r"\n", "", "ndjson"),
        ("", "0", r"\n", "", "ndjson"),
    ],
    ids=lambda parts: parts[1],
)
def test_a_body_of_small_values_takes_no_memory_and_stops_no_other_thread(parts: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-c", _PARSING, *parts], capture_output=True, text=True, check=True)

    status, bodies, stopped = done.stdout.split()
    assert status == "413"
    assert float(bodies) < 2
    assert float(stopped) < 5  # it was 8 s and more


def test_the_most_facts_are_taken_with_all_that_data_sets_have_beside_them() -> None:
    texts = ", ".join('"A prompt, and another, such as (CounterFact) has"' for _ in range(32))
    record = f'{{"case_id": 1, "requested_rewrite": {{"prompt": "{{}}", "target_new": {{}}}}, "more": [{texts}]}},'
    settings = Settings()

    body = "[" + record * 100 + "{}]"

    assert sum(body.count(mark) for mark in "[{,") * settings.max_facts / 100 < most_elements(settings)


def test_a_refusal_of_too_many_values_says_what_to_do() -> None:
    with pytest.raises(
        TooLargeError, match="has 4 commas, brackets and lines, of which at most 3 are taken; send less"
    ):
        parse_json(b"[1,2,3,4]", 3)
    assert parse_json(b"[1,2,3]", 3) == [1, 2, 3]


def test_an_object_of_many_keys_is_refused_as_one() -> None:
    body = '{"model": "tiny", ' + ", ".join(f'"{number}": 0' for number in range(100_000)) + "}"

    with pytest.raises(MalformedJSONError, match="an object has 100001 keys; send what the schema asks for"):
        parse_json(body.encode())


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("/v1/completions", '{"model": "tiny", "prompt": [%s]}', "prompt"),
        ("/detokenize", '{"model": "tiny", "tokens": [%s]}', "tokens[0]"),
    ],
)
def test_of_a_long_list_the_first_wrong_entry_is_told(api: Api, path: str, body: str, loc: str) -> None:
    answer = api.http.post(path, content=body % ",".join(["{}"] * 200_000), headers=JSON)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, loc)
    assert "more" not in answer.json()["error"]["message"]


def test_only_where_facts_are_sent_may_a_body_be_large(api: Api) -> None:
    def status(path: str, mebibytes: int, method: str = "POST") -> int:
        return api.http.request(method, path, content=b" " * mebibytes * MEBIBYTE, headers=JSON).status_code

    assert status("/v1/edits", 5) == status("/v1/evaluations", 5) == 400
    assert status("/v1/completions", 3) == status("/tokenize", 3) == 400
    assert status("/v1/completions", 5) == status("/v1/chat/completions", 5) == status("/tokenize", 5) == 413
    assert status("/v1/statistics", 2) == status(f"/v1/models/{MODEL}/versions/v1/revert", 2) == 413
    assert status(f"/v1/models/{MODEL}/aliases/best", 2, "PUT") == 413


def sent(*pieces: bytes, ends: bool = True, caller: str = "ada") -> Request:
    """A request of `caller` whose body comes in `pieces`."""
    waiting = list(pieces)

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or not ends}
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    state = {"caller": Caller(caller, frozenset())}
    return Request({"type": "http", "method": "POST", "path": "/", "headers": [], "state": state}, receive)


def test_large_bodies_are_worked_on_one_at_a_time_and_small_ones_pass_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "WAIT_SECONDS", 0.1)
    large = b" " * (LARGE_BYTES // 2 + 1)
    working = 0

    async def scene() -> None:
        nonlocal working
        bodies = LargeBodies()
        go_on = asyncio.Event()

        async def work(caller: str) -> None:
            nonlocal working
            async with bodies.body_of(sent(large, large, caller=caller)) as body:
                assert body == large * 2
                working += 1
                await go_on.wait()
                assert working == 1
                working -= 1

        tasks = [asyncio.create_task(work(caller)) for caller in ("ada", "bob")]
        await asyncio.sleep(0.05)
        assert working == 1
        async with bodies.body_of(sent(b"{", b"}")) as body:
            assert body == b"{}"
        with pytest.raises(BusyError, match="try again later"):
            async with bodies.body_of(sent(large, large, caller="eve")):
                pass
        go_on.set()
        await asyncio.gather(*tasks)
        async with bodies.body_of(sent(large, large)):
            pass

    asyncio.run(scene())


def test_a_key_that_sends_slowly_leaves_a_turn_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "WAIT_SECONDS", 0.1)
    large = b" " * (LARGE_BYTES + 1)

    async def scene() -> None:
        bodies = LargeBodies()

        async def send(request: Request) -> int:
            async with bodies.body_of(request) as body:
                return len(body)

        slow = [asyncio.create_task(send(sent(large, ends=False))) for _ in range(large_bodies.MOST_AT_ONCE)]
        await asyncio.sleep(0.05)
        assert await send(sent(large, caller="bob")) == len(large)
        with pytest.raises(BusyError):
            await slow[-1]
        slow[0].cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert await send(sent(large)) == len(large)

    asyncio.run(scene())


def test_a_large_body_that_does_not_arrive_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "READ_SECONDS", 0.05)

    async def scene() -> None:
        bodies = LargeBodies()
        for _ in range(large_bodies.MOST_AT_ONCE + 1):
            with pytest.raises(BodyTooSlowError, match="send the facts in smaller batches"):
                async with bodies.body_of(sent(b" " * (LARGE_BYTES + 1), ends=False)):
                    pass

    asyncio.run(scene())
