"""From an asked request to its answer: whole, or chunk by chunk as the worker brings it."""

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
from service.generation.exchange import ask, forget, replies
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


class Answer(Protocol):
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
    resources: Resources, request: Request, generation: GenerationRequest, version: str, answer: Answer
) -> Response:
    """The whole answer in JSON. Raises ServiceError."""
    account = TokenAccount(resources, generation)
    await account.open()
    finished = False
    try:
        found = await _until_gone(request, _whole(resources, generation, answer, account))
        finished = found is not None
    finally:
        await _forget(resources, generation, finished=finished)
        await account.close()
    if found is None:
        return Response(status_code=_CLIENT_GONE)
    return Response(found.model_dump_json(), headers={VERSION_HEADER: version}, media_type=JSON_TYPE)


async def stream(
    resources: Resources, request: Request, generation: GenerationRequest, version: str, chunks: Chunks
) -> Response:
    """The answer as server-sent events, begun when there is something to say.

    Raises ServiceError up to then; what goes wrong later is told in the stream, which then lacks its `[DONE]`.
    """
    account = TokenAccount(resources, generation)
    await account.open()
    begun = None
    try:
        begun = await _until_gone(request, _begin(resources, generation, account))
    finally:
        if begun is None:
            await _forget(resources, generation, finished=False)
            await account.close()
    if begun is None:
        return Response(status_code=_CLIENT_GONE)
    return EventStream(
        _written(begun, chunks), {VERSION_HEADER: version}, partial(_close, resources, generation, begun)
    )


@dataclass
class _Begun:
    """Events whose first one has come; `finished` when the last one has."""

    first: GenerationEvent
    events: AsyncGenerator[GenerationEvent, None]
    account: TokenAccount
    finished: bool = False


async def _whole(
    resources: Resources, generation: GenerationRequest, answer: Answer, account: TokenAccount
) -> BaseModel:
    async with aclosing(replies(resources, await ask(resources, generation))) as events:
        async for event in events:
            account.count(event)
            answer.add(event)
    return answer.whole()


async def _begin(resources: Resources, generation: GenerationRequest, account: TokenAccount) -> _Begun:
    events = replies(resources, await ask(resources, generation))
    return _Begun(await anext(events), events, account)


async def _written(begun: _Begun, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    try:
        begun.account.count(begun.first)
        if lines := _lines(chunks.of(begun.first)):
            yield lines
        async for event in begun.events:
            begun.account.count(event)
            if lines := _lines(chunks.of(event)):
                yield lines
        begun.finished = True
        # Before the end is told: who reads it may ask for more at once.
        await begun.account.close()
        yield _lines(chunks.last()) + _DONE
    except (ServiceError, RedisError) as error:
        log.warning("a stream broke off", error=str(error))
        told = (
            error if isinstance(error, ServiceError) else UnavailableError("Redis does not answer; try again shortly")
        )
        _, envelope, _ = openai_error(told)
        yield _lines([envelope.decode()])


async def _close(resources: Resources, generation: GenerationRequest, begun: _Begun) -> None:
    await begun.events.aclose()
    await _forget(resources, generation, finished=begun.finished)
    await begun.account.close()


def _lines(chunks: Iterable[str]) -> bytes:
    return b"".join(format_sse_event(data_str=chunk) for chunk in chunks)


async def _until_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` brings, or None where the client has gone before."""
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        for task in (answering, leaving):
            task.cancel()
        for task in (answering, leaving):
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _forget(resources: Resources, generation: GenerationRequest, *, finished: bool) -> None:
    # Both keys have lifetimes: where Redis is away they go by themselves, and the error at hand must not be hidden.
    with suppress(RedisError, OSError):
        await forget(resources, generation, finished=finished)
