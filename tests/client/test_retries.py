"""Requests that are sent again, and those that are not: by a script, and through a proxy that breaks a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from emmetd_client import (
    AsyncEmmetd,
    ConnectionFailedError,
    EditEvent,
    Emmetd,
    RateLimitError,
    ServerError,
    TimedOutError,
    UnavailableError,
)
from emmetd_client._answers import seconds_of
from emmetd_client._retrying import RetryPolicy

from tests.client.conftest import QUICK, Running
from tests.client.fault_proxy import LOST, RESET, Fault, FaultProxy, proxied, refusal
from tests.client.stub import FACT, JOB, Stub, answer, problem

pauses: list[float] = []


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    pauses.clear()

    async def later(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("emmetd_client._sync.transport.pause_for", pauses.append)
    monkeypatch.setattr("emmetd_client._sync.edits.pause_for", pauses.append)
    monkeypatch.setattr("emmetd_client._async.transport.async_pause", later)
    return pauses


@pytest.fixture
def proxy(server: Running) -> Iterator[FaultProxy]:
    with proxied(server.port) as proxy:
        yield proxy


def through(proxy: FaultProxy, server: Running, **more: Any) -> Emmetd:
    return Emmetd(proxy.url, api_key=server.key, **more)


BUSY = problem(503, "unavailable", headers={"Retry-After": "3"})
LIST = answer(body={"data": [], "next_cursor": None})


def test_pauses_grow_and_obey_the_server() -> None:
    policy = RetryPolicy(retries=3, first_seconds=1, longest_seconds=3)
    for attempt, most in ((0, 1), (1, 2), (2, 3)):
        found = [policy.pause(attempt) or 0 for _ in range(50)]
        assert most / 2 <= min(found) <= max(found) <= most
        assert len(set(found)) > 1
    assert policy.pause(3) is None
    assert (policy.pause(0, 7) or 0) >= 7
    assert policy.pause(0, 3600) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_of("12") == 12
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (seconds_of(in_a_minute) or 0) <= 60
    assert seconds_of("soon") is None


def test_a_read_is_sent_again_after_the_time_that_the_server_names(no_pauses: list[float]) -> None:
    stub = Stub(httpx.ReadError("reset"), BUSY, problem(502, "bad_gateway"), LIST)
    with Emmetd(transport=stub.transport) as client:
        assert client.edits.list().to_list() == []
    assert len(stub.requests) == 4
    assert no_pauses[1] >= 3


def test_a_create_is_one_whatever_it_takes(no_pauses: list[float]) -> None:
    stub = Stub(httpx.ReadError("reset"), BUSY, httpx.ReadTimeout("slow"), answer(202, JOB))
    with Emmetd(transport=stub.transport) as client:
        first = client.edits.create(model="tiny", facts=[FACT])
        client.edits.create(model="tiny", facts=[FACT])
    assert first.id == "edit_1"
    keys = [request.headers["idempotency-key"] for request in stub.requests]
    assert keys[:4] == [keys[0]] * 4
    assert keys[4] != keys[0]


@pytest.mark.parametrize("failure", [httpx.ReadError("reset"), httpx.ReadTimeout("slow")])
def test_what_would_be_done_twice_is_not_sent_twice(failure: Exception, no_pauses: list[float]) -> None:
    stub = Stub(failure)
    with Emmetd(transport=stub.transport) as client:
        for refused in (
            lambda: client.downstream.add("tiny", "v1", harness={}, results={}),
            lambda: client.completions.create(model="tiny", prompt="x"),
            lambda: client.aliases.set("tiny", "latest", "v0", expected="v1"),
        ):
            with pytest.raises(ConnectionFailedError):
                refused()
    assert len(stub.requests) == 3


def test_what_was_surely_refused_is_sent_again(no_pauses: list[float]) -> None:
    done = answer(body={"id": "c", "model": "tiny", "choices": [{"index": 0, "text": "Lyon"}]})
    stub = Stub(httpx.ConnectError("nobody"), problem(429, "queue_full"), BUSY, done)
    with Emmetd(transport=stub.transport) as client:
        assert client.completions.create(model="tiny", prompt="x").text == "Lyon"


def test_a_limit_that_lasts_for_hours_is_told_at_once(no_pauses: list[float]) -> None:
    stub = Stub(problem(429, "facts_limit", headers={"Retry-After": "7200"}))
    with Emmetd(transport=stub.transport) as client, pytest.raises(RateLimitError) as limited:
        client.edits.list().to_list()
    assert (limited.value.retry_after, limited.value.code, len(stub.requests)) == (7200, "facts_limit", 1)


def test_errors_that_stay_are_not_asked_for_again(no_pauses: list[float]) -> None:
    stub = Stub(problem(500, "internal"))
    with Emmetd(transport=stub.transport) as client, pytest.raises(ServerError):
        client.edits.get("edit_1")
    assert len(stub.requests) == 1


def test_retries_end(no_pauses: list[float]) -> None:
    stub = Stub(BUSY)
    with Emmetd(transport=stub.transport, retries=2) as client, pytest.raises(UnavailableError):
        client.edits.get("edit_1")
    assert len(stub.requests) == 3


def test_a_deletion_whose_answer_was_lost_is_done(no_pauses: list[float]) -> None:
    stub = Stub(httpx.ReadError("reset"), problem(404, "version_not_found"))
    with Emmetd(transport=stub.transport) as client:
        client.versions.delete("tiny", "v1")
    assert len(stub.requests) == 2


def test_the_asynchronous_client_repeats_alike(no_pauses: list[float]) -> None:
    stub = Stub(httpx.ReadError("reset"), BUSY, answer(202, JOB))

    async def create() -> str:
        async with AsyncEmmetd(transport=stub.transport) as client:
            return (await client.edits.create(model="tiny", facts=[FACT])).id

    assert asyncio.run(create()) == "edit_1"
    assert len({request.headers["idempotency-key"] for request in stub.requests}) == 1
    assert len(no_pauses) == 2


def test_through_resets_and_refusals_a_batch_is_submitted_once(
    proxy: FaultProxy, server: Running, client: Emmetd
) -> None:
    before = {job.id for job in client.edits.list()}
    proxy.faults = [RESET, refusal(503, "0"), refusal(429, "0"), LOST]
    fact = {"prompt": "The mother tongue of {} is", "subject": "Clara Haskil", "target_new": "German"}
    with through(proxy, server) as unlucky:
        job = unlucky.edits.create(model=f"{server.model}@v1", facts=[fact], **QUICK)
        after = {job.id for job in client.edits.list()}
        assert after - before == {job.id}
        assert proxy.passed[:2] == ["POST /v1/edits HTTP/1.1"] * 2  # the first one's answer was lost
        proxy.faults = [RESET, LOST]
        assert job.wait(timeout=120).succeeded


def test_events_go_on_where_the_stream_was_cut(proxy: FaultProxy, server: Running) -> None:
    with through(proxy, server) as client:
        fact = {"prompt": "The mother tongue of {} is", "subject": "Felix Klein", "target_new": "English"}
        job = client.edits.create(model=f"{server.model}@v1", facts=[fact], **QUICK).wait(timeout=120)
        whole = [event.id for event in job.events() if isinstance(event, EditEvent)]
        proxy.asked.clear()
        proxy.faults = [Fault("cut", bytes_through=900), RESET, Fault("cut", bytes_through=900)]
        broken = [event.id for event in job.events() if isinstance(event, EditEvent)]
    assert broken == whole
    assert len(proxy.asked) >= 3


def test_a_body_that_drips_is_given_up(proxy: FaultProxy, server: Running) -> None:
    with through(proxy, server, timeout=0.5, retries=0) as client:
        proxy.faults = [Fault("dribble")]
        started = time.monotonic()
        with pytest.raises(TimedOutError, match="raise timeout"):
            client.models.list().to_list()
        assert time.monotonic() - started < 20  # the proxy would go on for 30 s


def test_a_stream_of_text_that_breaks_off_is_an_error(proxy: FaultProxy, server: Running) -> None:
    proxy.faults = [Fault("cut", bytes_through=700)]
    with through(proxy, server) as client, pytest.raises(ConnectionFailedError):
        list(client.completions.stream(model=server.model, prompt="The mother tongue of", max_tokens=40))
    assert len(proxy.passed) == 1


def test_a_server_that_is_not_there_is_named_with_the_remedy() -> None:
    with Emmetd("http://127.0.0.1:9", retries=0) as client, pytest.raises(ConnectionFailedError) as away:
        client.models.list().to_list()
    assert "http://127.0.0.1:9 cannot be reached" in str(away.value)
    assert "emmetd serve" in str(away.value)
