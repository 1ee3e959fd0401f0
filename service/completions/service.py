"""One completion, from the body to the answer."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.completions.answer import CompletionAnswer
from service.completions.chunks import CompletionChunks
from service.completions.submission import read_submission
from service.generation.service import respond, stream
from service.resources import Resources


async def complete(resources: Resources, request: Request, body: bytes) -> Response:
    """Raises ServiceError or StoreError."""
    submission = await run_in_threadpool(read_submission, resources, body)
    generation, version = submission.generation, submission.pinned.version_name
    if submission.request.stream:
        return await stream(resources, request, generation, version, CompletionChunks(submission))
    return await respond(resources, request, generation, version, CompletionAnswer(submission))
