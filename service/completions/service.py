"""One completion, from the body to the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from api_schemas.completions import Completion
from api_schemas.generation import ErrorEvent, GenerationRequest
from service.completions.answer import AnswerInProgress
from service.completions.exchange import Asked, ask, forget, replies
from service.completions.submission import Submission, read_submission
from service.errors import GenerationError
from service.resources import Resources


async def complete(resources: Resources, request: Request, body: bytes) -> tuple[Completion | None, str]:
    """The answer and the version that gave it; no answer where the client has gone meanwhile.

    Raises ServiceError or StoreError.
    """
    submission = await run_in_threadpool(read_submission, resources, body)
    finished = False
    try:
        answer = await _until_gone(request, _answer(resources, submission))
        finished = answer is not None
        return answer, submission.version
    finally:
        await _forget(resources, submission.generation, finished=finished)


async def _answer(resources: Resources, submission: Submission) -> Completion:
    asked: Asked = await ask(resources, submission.generation)
    answer = AnswerInProgress(submission)
    async for event in replies(resources, asked):
        if isinstance(event, ErrorEvent):
            raise GenerationError(event.status, event.code, event.message)
        answer.add(event)
    return answer.completion()


async def _until_gone(request: Request, work: Coroutine[Any, Any, Completion]) -> Completion | None:
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
