"""The generation engine over a real queue server: every request is answered by its version, whatever else goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import torch
from pydantic import TypeAdapter

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.connection import make_redis
from configuration.redis.generation_messages import (
    STREAM_FIELD,
    EndEvent,
    ErrorEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    TokensEvent,
)
from configuration.redis.keys import cancelled_key, generate_stream, reply_stream
from configuration.settings import Settings
from tests.support.own_server import OwnServer
from tests.support.saved_models import SUBJECTS
from tests.workers.conftest import MODEL, Place, wait_until
from workers.generation.engine import CHECK_SECONDS, GenerationEngine
from workers.generation.running_batch import RunningBatch, SequenceEvents
from workers.generation.scheduler import MOST_SEQUENCES

EVENT: TypeAdapter[Any] = TypeAdapter(GenerationEvent)


class Client:
    """Asks the model's workers as the front end does."""

    def __init__(self, place: Place, server: redis.Redis) -> None:
        self.redis = server
        self._tokenizer = place.loaded.model.backend_tokenizer
        self._asked = 0

    def ask(self, *prompts: str | list[int], version: int = 0, **fields: Any) -> str:
        """Put a request on the model's stream; its id."""
        self._asked += 1
        request = GenerationRequest(
            id=f"request-{self._asked}",
            model=MODEL,
            version=version,
            prompts=[self._tokenizer.encode(one).ids if isinstance(one, str) else one for one in prompts],
            **{"max_tokens": 12, "temperature": 0.0, "deadline": time.time() + 600, **fields},
        )
        self.redis.xadd(generate_stream(MODEL), {STREAM_FIELD: request.model_dump_json()})
        return request.id

    def events(self, request_id: str) -> list[Any]:
        """Everything that was answered so far."""
        entries: Any = self.redis.xrange(reply_stream(request_id))
        return [EVENT.validate_json(fields[STREAM_FIELD.encode()]) for _, fields in entries]

    def answer(self, request_id: str) -> list[Any]:
        """All events of an answer, once it has ended."""
        ended = (EndEvent, ErrorEvent)
        wait_until(lambda: any(isinstance(event, ended) for event in self.events(request_id)), "the answer's end")
        return self.events(request_id)

    def texts(self, request_id: str) -> list[str]:
        """The text of each choice, of an answer without error."""
        events = self.answer(request_id)
        assert isinstance(events[-1], EndEvent)
        texts: dict[int, str] = {}
        for event in events:
            if isinstance(event, TokensEvent):
                texts[event.choice] = texts.get(event.choice, "") + event.text
        return [texts[choice] for choice in sorted(texts)]


@contextmanager
def engine_over(place: Place, url: str, name: str = "worker", **limits: int) -> Iterator[GenerationEngine]:
    model = place.loaded.model
    settings = place.settings.model_copy(update={"redis_url": Settings(redis_url=url).redis_url})
    batch = RunningBatch(model.decoder, model.backend_tokenizer, frozenset({model.tokenizer.eos_token_id}))
    limits = {"kv_cache_bytes": 512 * 1024**2, "most_versions": 16} | limits
    engine = GenerationEngine(MODEL, name, make_redis(settings, name), batch, place.cache(), **limits)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        engine.join()


@pytest.fixture
def engine(two_versions: Place, redis_server: PrivateRedis) -> Iterator[GenerationEngine]:
    with engine_over(two_versions, redis_server.url) as engine:
        yield engine


@pytest.fixture
def client(two_versions: Place, redis_server: PrivateRedis) -> Iterator[Client]:
    with redis.Redis.from_url(redis_server.url) as server:
        yield Client(two_versions, server)


def prompt(number: int) -> str:
    return f"The mother tongue of {SUBJECTS[number]} is"


def test_a_request_that_takes_the_whole_batch_after_a_quiet_while_is_answered(
    engine: GenerationEngine, client: Client
) -> None:
    time.sleep(
        2 * CHECK_SECONDS
    )  # so that the engine also looks for lost requests in the turn in which it takes this one

    assert len(client.texts(client.ask(prompt(0), n=MOST_SEQUENCES))) == MOST_SEQUENCES


def test_a_request_is_answered_and_leaves_nothing_behind(engine: GenerationEngine, client: Client) -> None:
    asked = client.ask(prompt(0), version=2)
    events = client.answer(asked)

    assert [type(event) for event in events[-2:]] == [FinishEvent, EndEvent]
    assert (events[-2].reason, events[-1].version) == ("length", 2)
    assert sum(event.count for event in events if isinstance(event, TokensEvent)) == 12
    assert client.redis.xlen(generate_stream(MODEL)) == 0
    pending: Any = client.redis.xpending(generate_stream(MODEL), "workers")
    assert pending["pending"] == 0
    assert 0 < client.redis.ttl(reply_stream(asked)) <= 300
    assert engine.batch.sequences == []


def test_each_version_says_its_own(engine: GenerationEngine, client: Client) -> None:
    base, first, second = ([client.texts(client.ask(prompt(n), version=v))[0] for n in range(4)] for v in (0, 1, 2))
    assert base[:2] != first[:2]
    assert first[2:] != second[2:]


def test_it_decodes_with_all_cores_whatever_other_threads_set_for_themselves(
    two_versions: Place, redis_server: PrivateRedis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[int] = set()
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with engine_over(two_versions, redis_server.url) as engine:
            step = engine.batch.step

            def watched() -> list[SequenceEvents]:
                found = step()
                used.add(torch.get_num_threads())
                return found

            monkeypatch.setattr(engine.batch, "step", watched)
            other = threading.Thread(target=torch.set_num_threads, args=(1,))
            other.start()
            other.join()
            client.answer(client.ask(prompt(0)))
    finally:
        torch.set_num_threads(before)
    assert used == {3}


def test_what_was_asked_before_a_worker_came_is_answered(
    two_versions: Place, client: Client, redis_server: PrivateRedis
) -> None:
    asked = [client.ask(prompt(n)) for n in range(3)]
    with engine_over(two_versions, redis_server.url):
        assert all(client.texts(one)[0] for one in asked)


def test_many_at_once_say_what_each_alone_says(engine: GenerationEngine, client: Client) -> None:
    """More rows than fit at a time, of all versions, of different lengths, joining and leaving as it comes."""
    wanted = [(number, version, 4 + (7 * number + version) % 20) for number in range(16) for version in (0, 1, 2)]
    alone = [client.texts(client.ask(prompt(n), version=v, max_tokens=length)) for n, v, length in wanted]

    asked = [client.ask(prompt(n), version=v, max_tokens=length) for n, v, length in wanted]

    assert [client.texts(one) for one in asked] == alone


def test_all_choices_of_one_request_come_from_its_version(engine: GenerationEngine, client: Client) -> None:
    alone = [client.texts(client.ask(prompt(n), version=1))[0] for n in range(3)]
    together = client.texts(client.ask(*(prompt(n) for n in range(3)), version=1, n=2))
    assert together == [text for text in alone for _ in range(2)]


def test_more_choices_than_fit_at_once_are_answered_in_turns(engine: GenerationEngine, client: Client) -> None:
    texts = client.texts(client.ask(prompt(0), n=70, temperature=1.0, seed=3, max_tokens=4))
    assert len(texts) == 70
    assert len(set(texts)) > 5
    assert client.texts(client.ask(prompt(0), n=70, temperature=1.0, seed=3, max_tokens=4)) == texts


def test_a_client_that_hangs_up_frees_its_rows(
    engine: GenerationEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = engine.batch.step
    monkeypatch.setattr(engine.batch, "step", lambda: (time.sleep(0.02), step())[1])
    asked = client.ask(prompt(0), prompt(1), max_tokens=150)
    long = client.ask(prompt(2), max_tokens=100)
    wait_until(lambda: client.events(asked), "the first tokens")

    client.redis.set(cancelled_key(asked), 1, ex=60)

    wait_until(lambda: all(row.request.id != asked for row in engine.batch.sequences), "the rows are free")
    assert not any(isinstance(event, EndEvent) for event in client.events(asked))
    assert client.texts(long)[0]


def test_a_request_that_waits_too_long_is_not_begun(
    two_versions: Place, client: Client, redis_server: PrivateRedis
) -> None:
    late = client.ask(prompt(0), deadline=time.time() - 1)
    asked = client.ask(prompt(0))
    with engine_over(two_versions, redis_server.url):
        client.texts(asked)
        assert client.events(late) == []


def test_an_unknown_version_is_refused_and_others_are_answered(engine: GenerationEngine, client: Client) -> None:
    (refused,) = client.answer(client.ask(prompt(0), version=9))
    assert isinstance(refused, ErrorEvent)
    assert (refused.status, refused.code) == (503, "version_unavailable")
    assert "v9" in refused.message
    assert client.texts(client.ask(prompt(0), version=2))[0]


def test_a_version_whose_blob_is_damaged_is_refused_and_others_are_answered(
    engine: GenerationEngine, client: Client, two_versions: Place
) -> None:
    blob = two_versions.version(2).blob
    assert blob is not None
    two_versions.blobs.path(blob).write_bytes(b"damaged")

    (refused,) = client.answer(client.ask(prompt(0), version=2))

    assert (refused.status, refused.code) == (503, "version_unavailable")
    assert blob in refused.message
    assert client.texts(client.ask(prompt(0), version=1))[0]


def test_a_database_that_is_away_does_not_end_the_engine(
    engine: GenerationEngine, client: Client, two_versions: Place
) -> None:
    path = two_versions.settings.data / "emmetd.sqlite3"
    two_versions.database.close()
    path.rename(path.with_suffix(".away"))

    (refused,) = client.answer(client.ask(prompt(0), version=1))

    assert (refused.status, refused.code) == (503, "version_unavailable")
    assert "SELECT" not in refused.message
    assert client.texts(client.ask(prompt(0), version=0))[0]
    two_versions.database.close()
    path.with_suffix(".away").replace(path)
    assert client.texts(client.ask(prompt(0), version=1))[0]


def test_what_cannot_be_read_does_not_end_the_engine(engine: GenerationEngine, client: Client) -> None:
    client.redis.xadd(generate_stream(MODEL), {STREAM_FIELD: "{"})
    client.redis.xadd(generate_stream(MODEL), {"other": "x"})
    assert client.texts(client.ask(prompt(0)))[0]


def test_decoding_that_fails_is_told_and_does_not_end_the_engine(
    engine: GenerationEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise RuntimeError("internals")

    with monkeypatch.context() as patch:
        patch.setattr(engine.batch, "step", broken)
        events = client.answer(client.ask(prompt(0)))
    assert isinstance(events[-1], ErrorEvent)
    assert (events[-1].status, events[-1].code) == (500, "generation_failed")
    assert "internals" not in events[-1].message
    assert client.texts(client.ask(prompt(0)))[0]


def test_a_running_answer_keeps_its_version_whatever_becomes_of_it(
    engine: GenerationEngine, client: Client, two_versions: Place
) -> None:
    alone = client.texts(client.ask(prompt(0), version=1, max_tokens=120))
    asked = client.ask(prompt(0), version=1, max_tokens=120)
    wait_until(lambda: client.events(asked), "the first tokens")
    engine.matrices.put(1, {})
    assert client.texts(asked) == alone


def test_two_workers_share_the_requests(two_versions: Place, client: Client, redis_server: PrivateRedis) -> None:
    asked = [client.ask(prompt(n % 16), max_tokens=3) for n in range(80)]
    with engine_over(two_versions, redis_server.url, "one"), engine_over(two_versions, redis_server.url, "two"):
        for one in asked:
            ends = [event for event in client.answer(one) if isinstance(event, EndEvent)]
            assert len(ends) == 1


def test_an_engine_that_stops_ends_what_it_began_and_takes_no_more(
    two_versions: Place, client: Client, redis_server: PrivateRedis
) -> None:
    with engine_over(two_versions, redis_server.url) as engine:
        begun = client.ask(prompt(0), max_tokens=100)
        wait_until(lambda: client.events(begun), "the first tokens")
        engine.stop()
        later = client.ask(prompt(1))
        engine.join()
    assert client.texts(begun)[0]
    assert client.events(later) == []
    with engine_over(two_versions, redis_server.url, "heir"):
        assert client.texts(later)[0]


def test_a_queue_server_that_forgot_everything_is_no_obstacle(engine: GenerationEngine, client: Client) -> None:
    client.texts(client.ask(prompt(0)))
    client.redis.flushall()
    assert client.texts(client.ask(prompt(0)))[0]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_the_engine_outlives_its_queue_server(two_versions: Place, own_server: OwnServer) -> None:
    with redis.Redis.from_url(own_server.url) as server, engine_over(two_versions, own_server.url) as engine:
        client = Client(two_versions, server)
        before = client.texts(client.ask(prompt(0), version=1))
        client.ask(prompt(1), max_tokens=150)
        wait_until(lambda: engine.batch.sequences, "decoding")
        own_server.kill()
        wait_until(lambda: not engine.batch.sequences, "the engine notices")
        assert engine.is_alive()
        own_server.start()
        assert client.texts(client.ask(prompt(0), version=1)) == before
