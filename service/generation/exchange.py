"""Submits a generation request to the workers over Redis, and reads its reply stream until the end."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from fastapi.concurrency import run_in_threadpool
from opentelemetry.trace import Span
from pydantic import ConfigDict, TypeAdapter
from redis.exceptions import RedisError

from api_schemas.references import version_name
from configuration import tracing
from configuration.redis.generation_messages import (
    STREAM_FIELD,
    EndEvent,
    ErrorEvent,
    GenerationEvent,
    GenerationRequest,
)
from configuration.redis.keys import (
    GENERATE_GROUP,
    asked_key,
    cancelled_key,
    claimed_key,
    generate_stream,
    reply_stream,
)
from service.errors import AnswerLostError, BusyError, GenerationError, NoWorkerError
from service.resources import Resources

MOST_WAITING: Final = 256
"""Requests that wait for a model's workers, at most."""
CHECK_SECONDS: Final = 2.0
"""After this long without a word, look whether the worker lives."""
_CANCELLED_SECONDS: Final = 3600

# A command whose answer is lost is sent again; the request must be on the stream once. The mark remembers its entry,
# for as long as it may have to be taken off again.
_ASK: Final = """
local asked = redis.call('GET', KEYS[2])
if asked then return asked end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return false end
local entry = redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], entry, 'EX', ARGV[4])
return entry
"""
# What nobody waits for any more gives its place on the stream to others.
_CANCEL: Final = """
local entry = redis.call('GET', KEYS[2])
if entry then
    redis.call('XACK', KEYS[1], ARGV[1], entry)
    redis.call('XDEL', KEYS[1], entry)
end
redis.call('SET', KEYS[3], 1, 'EX', ARGV[2])
"""
_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(GenerationEvent, config=ConfigDict(hide_input_in_errors=True))


@dataclass
class SubmittedRequest:
    """A request before the model's workers, its entry on their stream, and the span that ends with the replies."""

    request: GenerationRequest
    entry: bytes
    span: Span


async def submit(resources: Resources, request: GenerationRequest) -> SubmittedRequest:
    """Put the request before the model's workers. Raises BusyError where too many wait already."""
    stream, mark = generate_stream(request.model), asked_key(request.id)
    attributes = {
        "gen_ai.request.model": request.model,
        "emmetd.version": version_name(request.version),
        "emmetd.generation.id": request.id,
    }
    span = tracing.begin("generate", attributes, kind="client")
    traced = request.model_copy(update={"traceparent": tracing.traceparent(span)})
    try:
        # A worker of the release before knows no traceparent: what is null is left out.
        written = traced.model_dump_json(exclude_none=True)
        arguments = (str(MOST_WAITING), STREAM_FIELD, written, str(_CANCELLED_SECONDS))
        entry: Any = await resources.async_redis.eval(_ASK, 2, stream, mark, *arguments)
        if entry is None:
            raise BusyError(f"{MOST_WAITING} requests wait already for model {request.model!r}; try again later")
    except BaseException as error:
        tracing.fail(type(error).__name__, span)
        span.end()
        raise
    return SubmittedRequest(request, entry, span)


def replies(resources: Resources, submitted: SubmittedRequest) -> AsyncGenerator[GenerationEvent, None]:
    """The worker's events up to, and without, the end. Once begun they are read to their end, or closed.

    Raises what `_replies` does.
    """
    events = _replies(resources, submitted)
    return _traced(events, submitted.span) if tracing.is_on() else events


async def _traced(events: AsyncGenerator[GenerationEvent, None], span: Span) -> AsyncGenerator[GenerationEvent, None]:
    with tracing.ending(span):
        async with aclosing(events):
            async for event in events:
                yield event


async def _replies(resources: Resources, submitted: SubmittedRequest) -> AsyncGenerator[GenerationEvent, None]:
    """The worker's events up to, and without, the end.

    Raises GenerationError where the worker tells of one, AnswerLostError where events stop coming, and
    UnauthorizedError where the caller's key is good no longer.
    """
    last_heard = time.monotonic()
    async with resources.replies.following(submitted.request.id) as mailbox:
        while True:
            news = await mailbox.get()
            if isinstance(news, RedisError):
                raise news
            for fields in news:
                last_heard = time.monotonic()
                event: GenerationEvent = _EVENT.validate_json(fields[STREAM_FIELD.encode()])
                if isinstance(event, EndEvent):
                    return
                if isinstance(event, ErrorEvent):
                    raise GenerationError(event.status, event.code, event.message)
                yield event
            resources.watch.check(resources.caller)
            if time.time() > submitted.request.deadline:
                raise AnswerLostError("the answer took too long; ask for fewer tokens, or when less waits")
            if time.monotonic() - last_heard > CHECK_SECONDS:
                last_heard = time.monotonic()
                await _check_worker(resources, submitted)


async def release(resources: Resources, request: GenerationRequest, *, finished: bool) -> None:
    """Nobody reads the replies any more. One that has not finished is cancelled: its place or its rows are freed."""
    redis, mark = resources.async_redis, asked_key(request.id)
    if not finished:
        keys = (generate_stream(request.model), mark, cancelled_key(request.id))
        cancelled: Any = redis.eval(_CANCEL, len(keys), *keys, GENERATE_GROUP, str(_CANCELLED_SECONDS))
        await cancelled
    await redis.delete(reply_stream(request.id), mark)


async def _check_worker(resources: Resources, submitted: SubmittedRequest) -> None:
    """A worker puts its claim in the entry's place. A request without either, or whose worker is gone, is lost."""
    model, redis = submitted.request.model, resources.async_redis
    stream = generate_stream(model)
    waits = await redis.xrange(stream, submitted.entry, submitted.entry)
    if waits:
        # Between being handed the entry and claiming it a worker may die too.
        handed = await redis.xpending_range(stream, GENERATE_GROUP, submitted.entry, submitted.entry, 1)
        owner: Any = handed[0]["consumer"] if handed else None
    else:
        owner = await redis.get(claimed_key(submitted.request.id))
    if owner is None and waits:
        awaited = await run_in_threadpool(resources.workers.awaited, model)
        if awaited is not None:
            raise NoWorkerError(awaited)
        return
    alive = {status.id for status in await run_in_threadpool(resources.workers.of_model, model)}
    if owner is None or owner.decode() not in alive:
        raise AnswerLostError("the worker that took this request is gone; send it again")
