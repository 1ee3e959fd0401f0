"""Facts, prompts and completions may be confidential: whatever becomes of them, no line of a log holds them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import structlog
from sqlalchemy import update

from cli.supervision.private_redis import PrivateRedis
from configuration.logs import configure_logs
from configuration.redis.generation_messages import STREAM_FIELD, ErrorEvent
from configuration.redis.keys import generate_stream
from store.schema.tables import FactRow
from tests.support.saved_models import fact, facts
from tests.workers.conftest import MODEL, Place
from tests.workers.evaluating.test_evaluate import evaluate, evaluation
from tests.workers.generation.test_engine import Client, engine_over

LONG = "Lyon " * 150
REFUSED = [
    ({"prompt": "{}uda plays the", "subject": "Toko Yas"}, "subject_not_found"),
    ({"target_new": LONG}, "context_length_exceeded"),
    ({"prompt": LONG + "{} is"}, "context_length_exceeded"),
]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a worker writes from now on, at the level that says most."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    yield stream
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.configure(**before)


def listen(place: Place, log: io.StringIO) -> None:
    configure_logs(place.settings.model_copy(update={"log_level": "debug", "log_format": "json"}), "worker", log)


def lines_of(log: io.StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == event]


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a fact, and the words that texts are made of where they are names."""
    if isinstance(value, str):
        yield value.strip()
        yield from (word for word in value.replace("{}", " ").split() if word[:1].isupper())
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


def assert_silent(log: io.StringIO, *of: Any) -> None:
    written = log.getvalue()
    assert written
    assert [text for one in of for text in texts_of(one) if text in written] == []


@pytest.mark.parametrize(("changed", "code"), REFUSED)
def test_a_batch_that_is_refused_is_logged_by_code_and_index(
    place: Place, log: io.StringIO, changed: dict[str, str], code: str
) -> None:
    sent = [fact(0), fact(1), {**fact(2), **changed}]
    listen(place, log)

    batch = place.edit(sent)

    assert batch.error is not None
    assert (batch.error["code"], batch.error["facts"]) == (code, [2])
    (line,) = lines_of(log, "task refused")
    assert (line["code"], line["facts"], line["edit"]) == (code, [2], batch.id)
    assert_silent(log, sent)


def test_an_evaluation_that_is_refused_is_logged_by_code_and_index(place: Place, log: io.StringIO) -> None:
    sent = [fact(0), {**fact(1), "prompt": LONG * 2 + "{} is"}]
    asked = evaluate(place, 0, facts=sent)
    listen(place, log)
    place.run()
    assert evaluation(place, asked).state == "failed"
    (line,) = lines_of(log, "task refused")
    assert line["facts"] == [1]
    assert_silent(log, sent)


def test_what_the_store_refuses_is_logged_in_its_own_words(place: Place, log: io.StringIO) -> None:
    place.edit(facts(2))
    blob = place.version(1).blob
    assert blob is not None
    place.blobs.path(blob).write_bytes(b"damaged")
    asked = evaluate(place, 1, facts=facts(2))
    place.worker()
    listen(place, log)
    place.run()
    assert evaluation(place, asked).state == "failed"
    (line,) = lines_of(log, "task refused")
    assert blob in line["error"]
    assert_silent(log, facts(2))


def test_a_kept_fact_that_cannot_be_read_is_not_quoted_in_the_traceback(place: Place, log: io.StringIO) -> None:
    sent = facts(2)
    batch_id = place.accept(sent)
    damaged = {name: text for name, text in sent[1].items() if name != "target_new"}
    with place.database.writing() as session:
        session.execute(update(FactRow).where(FactRow.batch_id == batch_id, FactRow.number == 1).values(fact=damaged))
    listen(place, log)
    place.run()
    assert place.batch(batch_id).state == "failed"
    assert "target_new" in lines_of(log, "task failed unexpectedly")[0]["exception"]
    assert_silent(log, sent)


def test_a_batch_that_is_published_is_not_quoted(place: Place, log: io.StringIO) -> None:
    listen(place, log)
    assert place.edit(facts(3)).version == 1
    assert lines_of(log, "published")
    assert_silent(log, facts(3))


def test_prompts_and_completions_are_not_quoted(
    place: Place, redis_server: PrivateRedis, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(place, log)
    asked = "Everybody knows that Toko Yasuda speaks"
    with redis.Redis.from_url(redis_server.url) as server, engine_over(place, redis_server.url) as engine:
        client = Client(place, server)
        unread = {"id": "r", "model": MODEL, "version": 0, "prompts": asked, "max_tokens": "Yasuda"}
        server.xadd(generate_stream(MODEL), {STREAM_FIELD: json.dumps(unread)})
        said = client.texts(client.ask(asked, stop=["Yasuda plays"]))[0]
        with monkeypatch.context() as broken:
            broken.setattr("workers.generation.sequences.sample_token", lambda *_: None)
            assert isinstance(client.answer(client.ask(asked, stop=["Yasuda plays"], temperature=1))[-1], ErrorEvent)
        assert engine.is_alive()
    (line,) = lines_of(log, "a generation request cannot be read")
    assert "max_tokens" in line["error"]
    assert lines_of(log, "a row failed")
    assert said
    assert_silent(log, asked, said, "Yasuda plays")
