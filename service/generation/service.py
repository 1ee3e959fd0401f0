"""Answers a generation request: whole as JSON, or streamed chunk by chunk as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog
from fastapi import Request
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from redis.exceptions import RedisError
from starlette.responses import Response

from configuration.redis.generation_messages import GenerationEvent, GenerationRequest
from service.errors import ServiceError, UnavailableError
from service.generation.exchange import release, replies, submit
from service.generation.token_rates import TokenAccount
from service.http.bodies import JSON_TYPE
from service.http.event_stream import EventStream
from service.http.problems import openai_error
from service.resources import Resources

VERSION_HEADER: Final = "X-Emmetd-Version"
_CLIENT_GONE: Final = 499
_DONE: Final = format_sse_event(data_str="[DONE]")

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class AnswerCollector(Protocol):
    """Collects a request's events."""

    def add(self, event: GenerationEvent) -> None: ...

    def whole(self) -> BaseModel:
        """The answer; asked for when the events have ended."""
        ...


class Chunks(Protocol):
    """Writes a request's events as chunks, each in JSON."""

    def of(self, event: GenerationEvent) -> Iterable[str]: ...

    def last(self) -> Iterable[str]:
        """What follows when the events have ended."""
        ...


async def respond(
    resources: Resources, request: Request, generation: GenerationRequest, version: str, answer: AnswerCollector
) -> Response:
    """The whole answer in JSON. Raises ServiceError."""
    account = TokenAccount(resources, generation)
    await account.open()
    finished = False
    try:
        answer_body = await _until_disconnected(request, _whole(resources, generation, answer, account))
        finished = answer_body is not None
    finally:
        await _release(resources, generation, finished=finished)
        await account.close()
    if answer_body is None:
        return Response(status_code=_CLIENT_GONE)
    return Response(answer_body.model_dump_json(), headers={VERSION_HEADER: version}, media_type=JSON_TYPE)


async def stream(
    resources: Resources, request: Request, generation: GenerationRequest, version: str, chunks: Chunks
) -> Response:
    """The answer as server-sent events, begun when there is something to say.

    Raises ServiceError up to then; what goes wrong later is told in the stream, which then lacks its `[DONE]`.
    """
    account = TokenAccount(resources, generation)
    await account.open()
    open_stream = None
    try:
        open_stream = await _until_disconnected(request, _begin(resources, generation, account))
    finally:
        if open_stream is None:
            await _release(resources, generation, finished=False)
            await account.close()
    if open_stream is None:
        return Response(status_code=_CLIENT_GONE)
    return EventStream(
        _written(open_stream, chunks), {VERSION_HEADER: version}, partial(_close, resources, generation, open_stream)
    )


@dataclass
class _OpenStream:
    """Events whose first one has come; `finished` when the last one has."""

    first: GenerationEvent
    events: AsyncGenerator[GenerationEvent, None]
    account: TokenAccount
    finished: bool = False


async def _whole(
    resources: Resources, generation: GenerationRequest, answer: AnswerCollector, account: TokenAccount
) -> BaseModel:
    async with aclosing(replies(resources, await submit(resources, generation))) as events:
        async for event in events:
            account.count(event)
            answer.add(event)
    return answer.whole()


async def _begin(resources: Resources, generation: GenerationRequest, account: TokenAccount) -> _OpenStream:
    events = replies(resources, await submit(resources, generation))
    return _OpenStream(await anext(events), events, account)


async def _written(open_stream: _OpenStream, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    try:
        open_stream.account.count(open_stream.first)
        if lines := _lines(chunks.of(open_stream.first)):
            yield lines
        async for event in open_stream.events:
            open_stream.account.count(event)
            if lines := _lines(chunks.of(event)):
                yield lines
        open_stream.finished = True
        # Before the end is told: who reads it may ask for more at once.
        await open_stream.account.close()
        yield _lines(chunks.last()) + _DONE
    except (ServiceError, RedisError) as error:
        log.warning("a stream broke off", error=str(error))
        reported = (
            error if isinstance(error, ServiceError) else UnavailableError("Redis does not answer; try again shortly")
        )
        _, envelope, _ = openai_error(reported)
        yield _lines([envelope.decode()])


async def _close(resources: Resources, generation: GenerationRequest, open_stream: _OpenStream) -> None:
    await open_stream.events.aclose()
    await _release(resources, generation, finished=open_stream.finished)
    await open_stream.account.close()


def _lines(chunks: Iterable[str]) -> bytes:
    return b"".join(format_sse_event(data_str=chunk) for chunk in chunks)


async def _until_disconnected(request: Request, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` brings, or None where the client has gone before."""
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        for task in (answering, leaving):
            task.cancel()
        for task in (answering, leaving):
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _release(resources: Resources, generation: GenerationRequest, *, finished: bool) -> None:
    # Both keys have lifetimes: where Redis is away they go by themselves, and the error at hand must not be hidden.
    with suppress(RedisError, OSError):
        await release(resources, generation, finished=finished)
