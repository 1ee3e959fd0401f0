"""A engine whose connection breaks between a command and its answer: nothing is told twice, and nobody waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.connection import make_redis
from configuration.redis.generation_messages import EndEvent
from configuration.redis.keys import GENERATE_GROUP, claimed_key, generate_stream
from configuration.settings import Settings
from tests.workers.conftest import MODEL, Place, wait_until
from tests.workers.generation.test_engine import Client, prompt
from workers.generation.engine import GenerationEngine
from workers.generation.running_batch import RunningBatch


class Connection(redis.Connection):
    """Breaks after `command` was sent: the server does it, and its answer is lost. `times` says how often."""

    command: bytes | None = None
    times = 0
    lock = threading.Lock()

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        super().send_packed_command(command, check_health)
        sent = b"".join(bytes(part) for part in command) if isinstance(command, list) else bytes(command)
        with Connection.lock:
            self._loses = Connection.times > 0 and Connection.command is not None and Connection.command in sent
            Connection.times -= self._loses

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        if getattr(self, "_loses", False):
            self._loses = False
            with contextlib.suppress(redis.ResponseError):
                super().read_response(*arguments, **options)  # so that the server has done it
            self.disconnect()
            raise redis.ConnectionError("the answer was lost")
        return super().read_response(*arguments, **options)


@pytest.fixture
def engine(two_versions: Place, redis_server: PrivateRedis) -> Iterator[GenerationEngine]:
    model = two_versions.loaded.model
    client = make_redis(Settings(redis_url=redis_server.url), "worker")
    client.connection_pool.connection_class = Connection
    batch = RunningBatch(model.decoder, model.backend_tokenizer, frozenset({model.tokenizer.eos_token_id}))
    engine = GenerationEngine(
        MODEL, "worker", client, batch, two_versions.cache(), kv_cache_bytes=512 * 1024**2, most_versions=16
    )
    engine.start()
    yield engine
    lose(b"", times=0)
    engine.stop()
    engine.join()


@pytest.fixture
def client(two_versions: Place, redis_server: PrivateRedis) -> Iterator[Client]:
    with redis.Redis.from_url(redis_server.url) as server:
        yield Client(two_versions, server)


def lose(command: bytes, times: int) -> None:
    with Connection.lock:
        Connection.command, Connection.times = command, times


def test_a_request_that_was_handed_out_on_a_broken_connection_is_answered(
    engine: GenerationEngine, client: Client
) -> None:
    alone = client.texts(client.ask(prompt(0)))
    lose(b"\r\n>\r\n", times=1)
    wait_until(lambda: Connection.times == 0, "a read for new requests whose answer will be lost")

    asked = client.ask(prompt(0))

    assert client.texts(asked) == alone
    pending: Any = client.redis.xpending(generate_stream(MODEL), GENERATE_GROUP)
    assert pending["pending"] == 0


def test_tokens_whose_sending_was_repeated_come_once(engine: GenerationEngine, client: Client) -> None:
    alone = client.texts(client.ask(prompt(0), prompt(1), version=1))
    lose(b"emmetd:reply:", times=5)

    asked = client.ask(prompt(0), prompt(1), version=1)

    assert client.texts(asked) == alone
    assert sum(isinstance(event, EndEvent) for event in client.events(asked)) == 1
    assert Connection.times == 0


@pytest.mark.parametrize("command", [b"XACK", b'"kind":"end"'])
def test_a_request_that_is_lost_is_claimed_by_nobody(engine: GenerationEngine, client: Client, command: bytes) -> None:
    """Its client then hears within seconds that it is lost, instead of waiting for a claim to run out."""
    client.texts(client.ask(prompt(0)))
    lose(command, times=1000)
    asked = client.ask(prompt(0))
    wait_until(lambda: 1000 - Connection.times >= 7, "every try has failed")
    lose(b"", times=0)

    wait_until(lambda: not client.redis.exists(claimed_key(asked)), "the claim is gone")
    assert client.texts(client.ask(prompt(1)))[0]
