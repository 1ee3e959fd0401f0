"""Sends sequences' events to their requests' reply streams in Redis, in order and each only once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from opentelemetry.trace import Span
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from configuration import tracing
from configuration.redis.generation_messages import (
    STREAM_FIELD,
    EndEvent,
    ErrorEvent,
    GenerationEvent,
    GenerationRequest,
)
from configuration.redis.keys import reply_stream

LIFETIME_SECONDS = 300
MOST_EVENTS = 100_000


@dataclass
class ActiveRequest:
    """A claimed request: choices that have not finished, events that were sent, its span and what its metrics need."""

    request: GenerationRequest
    unfinished: int
    span: Span
    claimed: float = field(default_factory=time.monotonic)
    tokens: int = 0
    sent_events: int = 0

    def close(self, reason: str | None = None) -> None:
        """Nothing more is done for it; `reason` where it was not answered whole."""
        tracing.note({"gen_ai.usage.output_tokens": self.tokens}, self.span)
        if reason is not None:
            tracing.fail(reason, self.span)
        self.span.end()


class Replies:
    """Events of several requests, sent in one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._pipeline: Pipeline = redis.pipeline(transaction=False)

    def add(self, active: ActiveRequest, events: Iterable[GenerationEvent]) -> None:
        reply = reply_stream(active.request.id)
        for event in events:
            active.sent_events += 1
            number = f"{active.sent_events}-0"
            self._pipeline.xadd(reply, {STREAM_FIELD: event.model_dump_json()}, id=number, maxlen=MOST_EVENTS)
        self._pipeline.expire(reply, LIFETIME_SECONDS)

    def end(self, active: ActiveRequest) -> None:
        """All its choices have finished."""
        self.add(active, [EndEvent(version=active.request.version)])

    def fail(self, active: ActiveRequest, status: int, code: str, message: str) -> None:
        """It ends without an answer."""
        self.add(active, [ErrorEvent(status=status, code=code, message=message)])

    def send(self) -> None:
        """Raises RedisError. Events are numbered: what is sent again because the answer was lost is there only once."""
        if not len(self._pipeline):
            return
        for answer in self._pipeline.execute(raise_on_error=False):
            if isinstance(answer, RedisError) and "equal or smaller than" not in str(answer):
                raise answer
