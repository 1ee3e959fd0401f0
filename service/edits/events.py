"""The whole life of a batch as server-sent events: what SQL keeps of it, and its progress while that changes."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

import orjson
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api_schemas.edits import EditEvent, Progress
from service.edits import service
from service.edits.views import edit_event
from service.errors import MalformedRequestError, UnauthorizedError
from service.http.problems import as_problem
from service.resources import Resources
from store.errors import BatchNotFoundError
from store.work import following
from store.work.following import BatchNews

LOOK_SECONDS: Final = 1.0
"""At least so often it is asked whether the caller's key is still good."""
KEEPALIVE_SECONDS: Final = 15.0
_RECONNECT_MILLISECONDS: Final = 2000
_EVENT_ID = re.compile(r"\d{1,18}")


def last_event(header: str | None) -> int:
    """The event after which a client wants to go on; 0 is before the first. Raises MalformedRequestError."""
    if not header:
        return 0
    if not _EVENT_ID.fullmatch(header):
        raise MalformedRequestError(
            f"Last-Event-ID: {header[:60]} is not the id of an event; send the id of the last one that came, or none"
        )
    return int(header)


def look(resources: Resources, edit_id: str, after: int) -> BatchNews:
    """How far the batch is, and those of its events that the client does not know.

    Raises BatchNotFoundError, ModelNotGrantedError.
    """
    with resources.database.reading() as session:
        service.owned(resources, session, edit_id)
        found = following.news(session, {edit_id: after}).get(edit_id)
    if found is None:
        raise BatchNotFoundError(f"no edit {edit_id!r}")
    return found


async def follow(resources: Resources, edit_id: str, seen: BatchNews, after: int) -> AsyncGenerator[bytes, None]:
    """`seen` and what follows, up to the batch's end. Progress has no id, so that nobody resumes after it.

    Where the caller's key ends before, the last event is `error`, with problem details.
    """
    yield format_sse_event(retry=_RECONNECT_MILLISECONDS)
    progress, spoke = None, time.monotonic()
    with resources.feed.following(edit_id) as follower:
        while True:
            news = [row for row in seen.events if row.id > after]
            told = b"".join(_written(edit_event(row)) for row in news)
            after = news[-1].id if news else after
            if not seen.is_all and seen.progress != progress:
                progress = seen.progress
                told += _event(
                    "progress", {"edit": edit_id, **Progress.model_validate(progress).model_dump(mode="json")}
                )
            if told:
                yield told
                spoke = time.monotonic()
            elif time.monotonic() - spoke >= KEEPALIVE_SECONDS:
                yield KEEPALIVE_COMMENT
                spoke = time.monotonic()
            if seen.is_all or follower.is_gone:
                return
            await follower.wait(LOOK_SECONDS)
            try:
                resources.watch.check(resources.caller)
            except UnauthorizedError as error:
                problem, _ = as_problem(error)
                problem.instance = f"/v1/edits/{edit_id}/events"
                yield _event("error", problem.model_dump(mode="json", exclude_none=True))
                return
            seen = follower.latest or seen


def _written(event: EditEvent) -> bytes:
    return _event("state" if event.state else event.kind, event.model_dump(mode="json"), str(event.id))


def _event(name: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    return format_sse_event(event=name, data_str=orjson.dumps(data).decode(), id=event_id)
