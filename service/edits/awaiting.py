"""Answering with a batch that may be waited for."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.edits import EditJob
from service.edits import service
from service.http.preferences import applied, wait_for, wait_seconds
from service.resources import Resources


async def awaited(
    request: Request, response: Response, resources: Resources, job: EditJob, prefer: str | None
) -> EditJob:
    """`job`, or what it has become once it ended or the time of `Prefer: wait` was up."""
    seconds = wait_seconds(prefer, resources.settings.wait_limit_seconds)
    response.headers.update(applied(seconds))
    if seconds is None or service.has_ended(job):
        return job

    async def look() -> EditJob:
        return await run_in_threadpool(service.get, resources, job.id)

    return await wait_for(request, resources, seconds, look, service.has_ended)
