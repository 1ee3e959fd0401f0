"""The queue of generation requests in Redis: one worker takes each, and none takes one whose client has gone.

The engine asks it for work between decoding steps; the API fills it (`configuration/redis/generation_messages.py`).
`Claims` then renews what was taken here, and takes over what a dead worker was handed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import structlog
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from configuration.redis.generation_messages import STREAM_FIELD, GenerationRequest
from configuration.redis.keys import GENERATE_GROUP, cancelled_key, claimed_key, generate_stream
from workers.generation.claims import CLAIM_SECONDS, Claims

log = structlog.get_logger(__name__)


class RequestQueue:
    """The model's stream, read through its consumer group so that of several workers one answers each request.

    A request that was taken is acknowledged at once: if this worker dies, its clients get a 503 and ask again, rather
    than some tokens twice.
    """

    def __init__(self, model: str, worker_id: str, redis: Redis, claims: Claims) -> None:
        self._stream = generate_stream(model)
        self._worker_id = worker_id
        self._redis = redis
        self._claims = claims
        self._lost: set[str] = set()

    def open(self) -> None:
        """Make the consumer group where it is missing, and take back the claims of what was lost. Raises RedisError."""
        try:
            self._redis.xgroup_create(self._stream, GENERATE_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        if self._lost:
            self._claims.disown(self._lost)
            self._lost.clear()

    def mark_lost(self, ids: Iterable[str]) -> None:
        """Nobody works on these any more, and Redis could not be told so; the next `open` takes their claims back."""
        self._lost.update(ids)

    def take(self, most: int, block: int | None = None, *, redelivered: bool = False) -> list[GenerationRequest]:
        """Up to `most` requests that somebody waits for; `block` is for how many milliseconds to wait for the first.

        `redelivered`: what was handed to this worker before, when its connection broke or by another's death.
        Raises RedisError; what then may have been taken is marked lost.
        """
        start_id = "0" if redelivered else ">"  # "0": this consumer's own pending entries; ">": never handed out
        streams: Any = self._redis.xreadgroup(
            GENERATE_GROUP, self._worker_id, {self._stream: start_id}, count=most, block=block
        )
        entries = [entry for _, stream_entries in streams or [] for entry in stream_entries]
        if not entries:
            return []
        requests = [request for _, fields in entries if (request := _read(fields)) is not None]
        pipeline = self._redis.pipeline()
        pipeline.xack(self._stream, GENERATE_GROUP, *(entry for entry, _ in entries))
        pipeline.xdel(self._stream, *(entry for entry, _ in entries))
        for request in requests:
            # Where a worker that was thought dead comes back with the same entry, the first claim stands.
            pipeline.set(claimed_key(request.id), self._worker_id, nx=True, ex=CLAIM_SECONDS)
            pipeline.get(claimed_key(request.id))
            pipeline.exists(cancelled_key(request.id))
        try:
            answers = pipeline.execute()
        except RedisError:
            # It may have been done: a claim that nobody works on must not stand.
            self.mark_lost(request.id for request in requests)
            raise
        # Two answers of XACK and XDEL come first, then three of each request: SET, GET (the owner), EXISTS.
        now = time.time()
        taken = [
            request
            for request, owner, is_cancelled in zip(requests, answers[3::3], answers[4::3], strict=True)
            if owner == self._worker_id.encode() and not is_cancelled and request.deadline >= now
        ]
        self._claims.hold(request.id for request in taken)
        return taken


def _read(fields: dict[bytes, bytes] | None) -> GenerationRequest | None:
    """None for an entry that holds no request: it is acknowledged and deleted with the others."""
    if not fields:  # handed to us once, and deleted since
        return None
    try:
        return GenerationRequest.model_validate_json(fields[STREAM_FIELD.encode()])
    except (KeyError, ValidationError) as error:
        log.error("a generation request cannot be read", error=str(error))
        return None
