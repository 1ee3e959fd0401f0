"""Memory runs out while rows join: they end with a 503, and those that run go on with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import torch

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.generation_messages import ErrorEvent, FinishEvent
from editing.model.decoder import Decoder
from tests.support.tiny_models import CONFIGS, tiny_model
from tests.workers.conftest import Place, wait_until
from tests.workers.generation.test_engine import Client, engine_over, prompt
from tests.workers.generation.test_running_batch import (
    PROMPTS,
    TOKENIZER,
    joined,
    played,
    request,
    rows_of,
    tokens_by_row,
)
from workers.generation import running_batch
from workers.generation.engine import GenerationEngine
from workers.generation.key_value_cache import KeyValueCache
from workers.generation.prefill import Prefill
from workers.generation.running_batch import NO_ROOM, RunningBatch, SequenceEvents
from workers.generation.sequences import DecodeSequence

LONG = PROMPTS[2] * 9
"""Longer than what runs, which is padded for it."""
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


def once(error: Exception, call: Callable[..., Any], number: int = 0) -> Callable[..., Any]:
    """`call`, but for the time number `number`, which raises."""
    counted = 0

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal counted
        counted += 1
        if counted == number + 1:
            raise error
        return call(*arguments, **options)

    return counting


def batch_of(name: str = "llama") -> RunningBatch:
    return RunningBatch(Decoder(tiny_model(name, torch.float32)), TOKENIZER, frozenset())


def running(batch: RunningBatch) -> tuple[list[DecodeSequence], list[SequenceEvents]]:
    """Three rows in the midst of their answers."""
    rows = rows_of(request(logprobs=3, max_tokens=90))
    events = joined(batch, rows)
    for _ in range(5):
        events += batch.step()
    return rows, events


def only_error(events: list[SequenceEvents], row: DecodeSequence) -> ErrorEvent:
    ((error,),) = [own for one, own in events if one is row]
    assert isinstance(error, ErrorEvent)
    return error


@pytest.mark.parametrize("longer", [False, True])
@pytest.mark.parametrize("layer", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_what_runs_goes_on_with_the_same_bits_wherever_the_merge_stops(
    name: str, layer: int, longer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(name)
    rows, events = running(batch)
    alone = list(tokens_by_row(events + played(batch)).values())

    rows, events = running(batch)
    late = rows_of(request(prompts=[LONG if longer else PROMPTS[1]], n=2, logprobs=0, max_tokens=70))
    with monkeypatch.context() as full:
        full.setattr(torch.Tensor, "new_zeros", once(ERRORS[0], torch.Tensor.new_zeros, layer))
        refused = joined(batch, late)
    assert batch.sequences == rows
    for row in late:
        error = only_error(refused, row)
        assert (error.status, error.code, error.message) == (503, "out_of_memory", NO_ROOM)
    # Whoever comes then is taken in beside them.
    events += batch.step()
    again = rows_of(request(prompts=[LONG], logprobs=0, max_tokens=3))
    events += joined(batch, again)
    found = tokens_by_row(events + played(batch))
    assert len(found[again[0]]) == 3
    if not longer:
        assert [[info.id for event in found[row] for info in event.tokens] for row in rows] == [
            [info.id for event in own for info in event.tokens] for own in alone
        ]


@pytest.mark.parametrize("layer", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_bits_are_those_of_a_batch_that_nobody_wanted_to_join(
    name: str, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(name)
    rows, events = running(batch)
    alone = list(tokens_by_row(events + played(batch)).values())

    for error in ERRORS:
        rows, events = running(batch)
        with monkeypatch.context() as full:
            full.setattr(torch.Tensor, "new_zeros", once(error, torch.Tensor.new_zeros, layer))
            joined(batch, rows_of(request(prompts=[LONG])))
        found = tokens_by_row(events + played(batch))
        assert [found[row] for row in rows] == alone


def test_those_that_fail_are_the_rows_that_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a group one answer is over with its first token: that needs no room, and is told."""
    batch = batch_of()
    rows, _ = running(batch)
    short, long = rows_of(request(prompts=PROMPTS[:1], max_tokens=1)), rows_of(request(prompts=[LONG], id="long"))
    monkeypatch.setattr(KeyValueCache, "merge", once(ERRORS[0], KeyValueCache.merge))
    events = joined(batch, [*short, *long])
    assert any(isinstance(event, FinishEvent) for row, own in events if row is short[0] for event in own)
    assert only_error(events, long[0]).code == "out_of_memory"
    assert batch.sequences == rows


@pytest.mark.parametrize("error", [*ERRORS, MemoryError(), ValueError("internals")])
@pytest.mark.parametrize("where", ["__init__", "step", "cache_of"])
def test_where_there_is_no_room_even_before_the_merge(
    where: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of()
    rows, events = running(batch)
    alone = list(tokens_by_row(events + played(batch)).values())
    rows, events = running(batch)
    with monkeypatch.context() as full:
        full.setattr(running_batch.Prefill, where, once(error, getattr(Prefill, where)))
        late = rows_of(request(prompts=[LONG]))
        refused = batch.join(late)
        while batch.is_prefilling:
            refused += batch.prefill()
    told = only_error(refused, late[0])
    expected = (500, "generation_failed") if isinstance(error, ValueError) else (503, "out_of_memory")
    assert (told.status, told.code) == expected
    assert "internals" not in told.message
    found = tokens_by_row(events + played(batch))
    assert [found[row] for row in rows] == alone


@pytest.fixture
def engine(two_versions: Place, redis_server: PrivateRedis) -> Iterator[GenerationEngine]:
    with engine_over(two_versions, redis_server.url) as engine:
        yield engine


@pytest.mark.parametrize("error", ERRORS)
def test_an_engine_refuses_what_did_not_fit_and_answers_the_others(
    engine: GenerationEngine,
    two_versions: Place,
    redis_server: PrivateRedis,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    with redis.Redis.from_url(redis_server.url) as server:
        client = Client(two_versions, server)
        alone = client.texts(client.ask(prompt(0), version=1, max_tokens=120))
        monkeypatch.setattr(KeyValueCache, "merge", once(error, KeyValueCache.merge))
        asked = client.ask(prompt(0), version=1, max_tokens=120)
        wait_until(lambda: client.events(asked), "the first tokens")

        (refused,) = client.answer(client.ask(prompt(1), prompt(2), n=2))

        assert isinstance(refused, ErrorEvent)
        assert (refused.status, refused.code) == (503, "out_of_memory")
        assert "later" in refused.message
        assert client.texts(asked) == alone
        assert len(client.texts(client.ask(prompt(1), prompt(2), n=2))) == 4
