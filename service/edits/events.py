"""The whole life of a batch as server-sent events: what SQL keeps of it, and its progress while that changes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import DBAPIError

from api_schemas.edits import FINAL_STATES, EditEvent, EditJob
from service.edits import service
from service.edits.views import edit_event, edit_job
from service.errors import MalformedRequestError, UnauthorizedError
from service.http.problems import as_problem
from service.resources import Resources
from store.schema.tables import EventRow
from store.work import events

LOOK_SECONDS: Final = 0.3
KEEPALIVE_SECONDS: Final = 15.0
_RECONNECT_MILLISECONDS: Final = 2000
_EVENT_ID = re.compile(r"\d{1,18}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Seen:
    """A batch, and those of its events that the client does not know."""

    job: EditJob
    news: list[EventRow]

    @property
    def is_all(self) -> bool:
        """Whether nothing will follow."""
        return self.job.state in FINAL_STATES


def last_event(header: str | None) -> int:
    """The event after which a client wants to go on; 0 is before the first. Raises MalformedRequestError."""
    if not header:
        return 0
    if not _EVENT_ID.fullmatch(header):
        raise MalformedRequestError(
            f"Last-Event-ID: {header[:60]} is not the id of an event; send the id of the last one that came, or none"
        )
    return int(header)


def look(resources: Resources, edit_id: str, after: int) -> Seen:
    """Raises BatchNotFoundError."""
    with resources.database.reading() as session:
        # In this order: where the batch has ended its last event is there too.
        job = edit_job(service.owned(resources, session, edit_id))
        return Seen(job, events.after(session, edit_id, after))


async def follow(resources: Resources, seen: Seen, after: int) -> AsyncGenerator[bytes, None]:
    """`seen` and what follows, up to the batch's end. Progress has no id, so that nobody resumes after it.

    Where the caller's key ends before, the last event is `error`, with problem details.
    """
    yield format_sse_event(retry=_RECONNECT_MILLISECONDS)
    progress, spoke = None, time.monotonic()
    while True:
        told = b"".join(_written(edit_event(row)) for row in seen.news)
        after = seen.news[-1].id if seen.news else after
        if not seen.is_all and seen.job.progress != progress:
            progress = seen.job.progress
            told += _event("progress", {"edit": seen.job.id, **progress.model_dump(mode="json")})
        if told:
            yield told
            spoke = time.monotonic()
        elif time.monotonic() - spoke >= KEEPALIVE_SECONDS:
            yield KEEPALIVE_COMMENT
            spoke = time.monotonic()
        if seen.is_all:
            return
        await asyncio.sleep(LOOK_SECONDS)
        try:
            resources.watch.check(resources.caller)
            seen = await run_in_threadpool(look, resources, seen.job.id, after)
        except UnauthorizedError as error:
            problem, _ = as_problem(error)
            problem.instance = f"/v1/edits/{seen.job.id}/events"
            yield _event("error", problem.model_dump(mode="json", exclude_none=True))
            return
        except DBAPIError as error:
            # The client connects again and goes on after the last event that it has.
            log.warning("a stream of events ends early", edit=seen.job.id, error=str(error.orig))
            return


def _written(event: EditEvent) -> bytes:
    return _event("state" if event.state else event.kind, event.model_dump(mode="json"), str(event.id))


def _event(name: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    return format_sse_event(event=name, data_str=orjson.dumps(data).decode(), id=event_id)
