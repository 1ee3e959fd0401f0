"""One chat completion, from the body to the answer."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.chat.answer import ChatAnswer
from service.chat.chunks import ChatChunks
from service.chat.submission import read_submission
from service.generation.service import respond, stream
from service.resources import Resources


async def chat(resources: Resources, request: Request, body: bytes) -> Response:
    """Raises ServiceError or StoreError."""
    submission = await run_in_threadpool(read_submission, resources, body)
    generation, version = submission.generation, submission.pinned.version_name
    if submission.request.stream:
        return await stream(resources, request, generation, version, ChatChunks(submission))
    return await respond(resources, request, generation, version, ChatAnswer(submission))
