"""A engine that many share: nothing that one request asks for holds up, starves or ends another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import torch

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.generation_messages import EndEvent, ErrorEvent
from configuration.redis.keys import GENERATE_GROUP, cancelled_key, claimed_key, generate_stream
from tests.workers.conftest import MODEL, Place, wait_until
from tests.workers.generation.test_engine import Client, engine_over, prompt
from workers.generation import claims, prefill, request_queue
from workers.generation.engine import GenerationEngine
from workers.generation.prefill import Prefill
from workers.generation.running_batch import RunningBatch
from workers.generation.scheduler import MOST_SEQUENCES
from workers.generation.sequences import DecodeSequence


@pytest.fixture
def client(two_versions: Place, redis_server: PrivateRedis) -> Iterator[Client]:
    with redis.Redis.from_url(redis_server.url) as server:
        yield Client(two_versions, server)


@pytest.fixture
def engine(two_versions: Place, redis_server: PrivateRedis) -> Iterator[GenerationEngine]:
    with engine_over(two_versions, redis_server.url) as engine:
        yield engine


@pytest.fixture
def slow(engine: GenerationEngine, monkeypatch: pytest.MonkeyPatch) -> GenerationEngine:
    """Steps take their time, so that something can happen meanwhile."""
    slow_down(engine, monkeypatch)
    return engine


def slow_down(engine: GenerationEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    step = engine.batch.step
    monkeypatch.setattr(engine.batch, "step", lambda: (time.sleep(0.01), step())[1])


def running(client: Client, **fields: Any) -> str:
    """A request that is being decoded, and will be for a while."""
    asked = client.ask(prompt(0), max_tokens=100, **fields)
    wait_until(lambda: client.events(asked), "the first tokens")
    return asked


@pytest.mark.parametrize("temperature", [5e-324, 1e-307])
def test_a_tiny_temperature_is_greedy_and_harms_nobody(
    slow: GenerationEngine, client: Client, temperature: float
) -> None:
    greedy = client.texts(client.ask(prompt(1)))
    others = [running(client, version=version) for version in range(3)]
    assert client.texts(client.ask(prompt(1), temperature=temperature)) == greedy
    assert all(client.texts(other)[0] for other in others)


def test_a_version_whose_numbers_overflow_fails_its_own_requests_alone(slow: GenerationEngine, client: Client) -> None:
    weight = slow.batch.decoder.projections[1].weight
    slow.matrices.put(1, {1: torch.full_like(weight, float("inf"))})
    other = running(client)
    error = client.answer(client.ask(prompt(0), prompt(1), version=1))[-1]
    assert isinstance(error, ErrorEvent)
    assert error.status == 500
    assert "v1" in error.message
    assert client.texts(other)[0]
    assert slow.batch.sequences == []


def test_a_token_id_that_the_model_does_not_know_is_refused_alone(slow: GenerationEngine, client: Client) -> None:
    embedded = slow.batch.decoder.embedded
    other = running(client)
    (error,) = client.answer(client.ask([1, embedded]))
    assert isinstance(error, ErrorEvent)
    assert (error.status, error.code) == (400, "invalid_fields")
    assert f"{embedded}; this model knows those of 0 to {embedded - 1}" in error.message
    assert client.texts(client.ask([1, embedded - 1]))[0]
    assert client.texts(other)[0]


@pytest.fixture
def short_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 1)
    monkeypatch.setattr(request_queue, "CLAIM_SECONDS", 1)


@pytest.mark.usefixtures("short_claims")
def test_claims_outlast_a_prompt_that_takes_longer_to_read_than_they_stand(
    client: Client, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: GenerationEngine = request.getfixturevalue("engine")  # begins with claims that are short already
    slow_down(engine, monkeypatch)
    read = Prefill.step

    def slow_to_read(prefill: Prefill) -> None:
        time.sleep(2.5)
        read(prefill)

    asked = running(client)
    monkeypatch.setattr(Prefill, "step", slow_to_read)
    long = client.ask(prompt(1), max_tokens=1)
    wait_until(lambda: client.redis.exists(claimed_key(long)), "claimed")
    while not isinstance((client.events(long) or [None])[-1], EndEvent):
        assert client.redis.exists(claimed_key(asked))
        assert client.redis.exists(claimed_key(long))
        time.sleep(0.05)


def test_a_version_that_is_read_slowly_holds_nobody_up(
    slow: GenerationEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = slow.matrices.blobs.get
    monkeypatch.setattr(slow.matrices.blobs, "get", lambda name: (time.sleep(1.5), get(name))[1])
    other = running(client)
    cold = client.ask(prompt(1), version=2, max_tokens=1)
    wait_until(lambda: client.redis.exists(claimed_key(cold)), "claimed")
    told, since, longest = 0, time.monotonic(), 0.0
    while not client.events(cold) and not isinstance(client.events(other)[-1], EndEvent):
        if (now := len(client.events(other))) != told:
            told, longest, since = now, max(longest, time.monotonic() - since), time.monotonic()
        time.sleep(0.005)
    assert longest < 1.0
    begun = time.monotonic()
    assert client.texts(client.ask(prompt(1), max_tokens=1))[0]
    assert time.monotonic() - begun < 1.0 or client.events(cold)
    assert client.texts(cold)[0]
    assert client.texts(other)[0]


def test_a_damaged_version_is_not_read_again_for_every_request(
    slow: GenerationEngine, client: Client, two_versions: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = two_versions.version(2).blob
    assert blob is not None
    path = two_versions.blobs.path(blob)
    content = path.read_bytes()
    path.write_bytes(b"damaged")
    reads: list[str] = []
    get = slow.matrices.blobs.get
    monkeypatch.setattr(slow.matrices.blobs, "get", lambda name: (reads.append(name), get(name))[1])
    client.answer(client.ask(prompt(0), version=2))

    # More than there are places in the batch, and yet others go on and come in.
    asked = [client.ask(prompt(0), version=2) for _ in range(2 * MOST_SEQUENCES)]
    assert client.texts(client.ask(prompt(0), max_tokens=1))[0]
    refusals = [client.answer(one)[0] for one in asked]

    assert {one.code for one in refusals} == {"version_unavailable"}
    assert reads.count(blob) <= 3
    path.write_bytes(content)
    assert client.texts(client.ask(prompt(0), version=2))[0]


def test_a_request_of_many_choices_lets_others_in(slow: GenerationEngine, client: Client) -> None:
    many = client.ask(*(prompt(n) for n in range(8)), n=64, max_tokens=4, temperature=1.0)
    wait_until(lambda: client.events(many), "the first tokens")
    for number in range(3):
        client.texts(client.ask(prompt(number), max_tokens=1))
    assert not isinstance(client.events(many)[-1], EndEvent)
    assert len(client.texts(many)) == 512


def test_a_long_prompt_does_not_keep_short_ones_waiting(
    engine: GenerationEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", 2)
    read = engine.batch.prefill
    monkeypatch.setattr(engine.batch, "prefill", lambda: (time.sleep(0.05), read())[1])
    long = client.ask([5] * 80, max_tokens=1)
    wait_until(lambda: client.redis.exists(claimed_key(long)), "claimed")
    client.texts(client.ask([5] * 4, max_tokens=1))
    assert client.events(long) == []
    assert isinstance(client.answer(long)[-1], EndEvent)


@pytest.mark.parametrize(("limits", "most"), [({"most_versions": 1}, 1), ({"most_versions": 2}, 2)])
def test_no_more_versions_than_are_set_share_a_batch(
    two_versions: Place, client: Client, redis_server: PrivateRedis, limits: dict[str, int], most: int
) -> None:
    asked = [client.ask(prompt(n), version=n % 3, max_tokens=8) for n in range(12)]
    seen: list[int] = []
    with engine_over(two_versions, redis_server.url, **limits) as engine:
        watch(engine, seen, lambda rows: len({row.request.version for row in rows}))
        assert all(client.texts(one)[0] for one in asked)
    assert max(seen) == most


def test_the_rows_that_run_together_fit_the_cache(
    two_versions: Place, client: Client, redis_server: PrivateRedis
) -> None:
    asked = [client.ask(prompt(n), max_tokens=20) for n in range(10)]
    longest = max(len(two_versions.loaded.model.backend_tokenizer.encode(prompt(n)).ids) for n in range(10)) + 20
    seen: list[int] = []
    slot = RunningBatch(two_versions.loaded.model.decoder, None, frozenset()).slot_bytes()  # type: ignore[arg-type]
    with engine_over(two_versions, redis_server.url, kv_cache_bytes=3 * longest * slot) as engine:
        watch(engine, seen, len)
        assert all(client.texts(one)[0] for one in asked)
    assert max(seen) == 3


def watch(engine: GenerationEngine, seen: list[int], what: Callable[[list[DecodeSequence]], int]) -> None:
    """Note `what` of the rows at every step."""
    step = engine.batch.step
    engine.batch.step = lambda: (seen.append(what(engine.batch.sequences)), step())[1]  # type: ignore[method-assign]


def test_a_request_that_was_cancelled_while_it_waited_is_not_begun(
    two_versions: Place, client: Client, redis_server: PrivateRedis
) -> None:
    gone, asked = client.ask(prompt(0)), client.ask(prompt(1))
    client.redis.set(cancelled_key(gone), 1, ex=60)
    with engine_over(two_versions, redis_server.url):
        client.texts(asked)
        assert client.events(gone) == []
    assert client.redis.xlen(generate_stream(MODEL)) == 0


def test_what_a_dead_worker_was_handed_is_answered_by_another_and_the_dead_one_is_forgotten(
    two_versions: Place, client: Client, redis_server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(claims, "REAP_SECONDS", 0.3)
    monkeypatch.setattr(claims, "IDLE_CONSUMER_SECONDS", 0.5)
    stream = generate_stream(MODEL)
    client.redis.xgroup_create(stream, GENERATE_GROUP, id="0", mkstream=True)
    asked, gone = client.ask(prompt(0)), client.ask(prompt(1))
    client.redis.set(cancelled_key(gone), 1, ex=60)
    client.redis.xreadgroup(GENERATE_GROUP, "dead", {stream: ">"}, count=2)
    with engine_over(two_versions, redis_server.url, "heir"):
        assert client.texts(asked)[0]
        wait_until(lambda: client.redis.xlen(stream) == 0, "nothing counts as waiting")

        def consumers() -> list[bytes]:
            return [consumer["name"] for consumer in client.redis.xinfo_consumers(stream, GENERATE_GROUP)]

        wait_until(lambda: consumers() == [b"heir"], "the dead one is forgotten")
    assert client.events(gone) == []
    ends = [event for event in client.events(asked) if isinstance(event, EndEvent)]
    assert len(ends) == 1


def test_a_request_that_another_worker_claimed_meanwhile_is_left_to_it(
    two_versions: Place, client: Client, redis_server: PrivateRedis
) -> None:
    """As where a worker comes back from a long sleep with what it was handed before."""
    taken, asked = client.ask(prompt(0)), client.ask(prompt(1))
    client.redis.set(claimed_key(taken), "another", ex=60)
    with engine_over(two_versions, redis_server.url):
        client.texts(asked)
        assert client.events(taken) == []
        assert client.redis.get(claimed_key(taken)) == b"another"
