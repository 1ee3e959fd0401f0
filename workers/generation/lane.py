"""The thread that owns decoding: requests from the model's Redis stream, tokens back, beside whatever is edited."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from opentelemetry.trace import Span
from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from api_schemas.generation import STREAM_FIELD, EndEvent, ErrorEvent, GenerationEvent, GenerationRequest
from api_schemas.references import version_name
from configuration import tracing
from configuration.redis_keys import GENERATE_GROUP, cancelled_key, claimed_key, generate_stream, reply_stream
from versions.errors import StoreError
from workers.generation.decoding import DecodeBatch, RowEvents
from workers.generation.rows import Row
from workers.materialise import MatrixCache
from workers.metrics import GENERATED_TOKENS, GENERATION_SECONDS, TIME_TO_FIRST_TOKEN

BLOCK_MILLISECONDS = 1000
REPLY_LIFETIME_SECONDS = 300
MOST_REPLY_EVENTS = 100_000
MOST_ROWS = 32
CACHE_BUDGET_BYTES = 512 * 1024**2
LOOK_SECONDS = 0.5
CLAIM_SECONDS = 30
"""For so long a claim stands that is not renewed: longer than a decode step takes."""

log = structlog.get_logger(__name__)


@dataclass
class _Active:
    """A claimed request: rows that have not finished, events that were sent, its span and what its metrics need."""

    request: GenerationRequest
    open: int
    span: Span
    claimed: float = field(default_factory=time.monotonic)
    tokens: int = 0
    told: int = 0

    def over(self, reason: str | None = None) -> None:
        """Nothing more is done for it; `reason` where it was not answered whole."""
        tracing.note({"gen_ai.usage.output_tokens": self.tokens}, self.span)
        if reason is not None:
            tracing.fail(reason, self.span)
        self.span.end()


class GenerationLane(threading.Thread):
    """Claims requests through the stream's consumer group, so that of several workers one answers each.

    A claimed request is acknowledged at once: if this worker dies, its clients get a 503 and ask again, rather than
    some tokens twice. No more is claimed than fits the batch, so that what waits stays in the stream for other workers.
    """

    def __init__(self, model: str, worker_id: str, redis: Redis, batch: DecodeBatch, matrices: MatrixCache) -> None:
        super().__init__(name="generation", daemon=True)
        self.model = model
        self.worker_id = worker_id
        self.redis = redis
        self.batch = batch
        self.matrices = matrices
        self._waiting: deque[Row] = deque()
        self._active: dict[str, _Active] = {}
        self._forgotten: set[str] = set()
        self._stop_requested = threading.Event()
        self._looked = time.monotonic()

    def stop(self) -> None:
        """Claim nothing more, finish what was claimed, then end."""
        self._stop_requested.set()

    def run(self) -> None:
        delay = LOOK_SECONDS
        while not (self._stop_requested.is_set() and not self._active):
            try:
                self._ensure_group()
                self._claim(again=True)
                while not (self._stop_requested.is_set() and not self._active):
                    self._turn()
                    delay = LOOK_SECONDS
            except RedisError as error:
                # Nobody can hear what is being decoded; the front end has told its clients already.
                self._forgotten |= set(self._active)
                self._forget_everything("redis_away")
                log.warning("generation waits for redis", error=str(error), retry_seconds=delay)
                self._stop_requested.wait(delay)
                delay = min(delay * 2, 10)

    def _turn(self) -> None:
        """Claim and admit what fits, then one decode step."""
        if self._has_room():
            self._claim()
        try:
            admitted = self._admit()
            if admitted:
                for row_events in self.batch.join(admitted):
                    self._send([row_events])
            self._send(self.batch.step())
        except RedisError:
            raise
        except Exception:
            log.exception("decoding failed")
            self._fail_all()
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self._drop_unheard()
            if self._has_room():  # what was claimed above may have taken it all, and Redis reads no 0 entries
                # A read whose answer was lost on the way is made again, but its entries are handed out only once.
                self._claim(again=True)

    def _has_room(self) -> bool:
        return not self._waiting and len(self.batch.rows) < MOST_ROWS and not self._stop_requested.is_set()

    def _ensure_group(self) -> None:
        try:
            self.redis.xgroup_create(generate_stream(self.model), GENERATE_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        if self._forgotten:
            # So that whoever waits for them hears at once that they are lost.
            self.redis.delete(*(claimed_key(request_id) for request_id in self._forgotten))
            self._forgotten.clear()

    def _claim(self, *, again: bool = False) -> None:
        """`again`: what was handed to this worker before, when its connection broke."""
        stream = generate_stream(self.model)
        room = MOST_ROWS - len(self.batch.rows)
        block = None if self.batch.rows or again else BLOCK_MILLISECONDS
        first = "0" if again else ">"
        claimed: Any = self.redis.xreadgroup(GENERATE_GROUP, self.worker_id, {stream: first}, count=room, block=block)
        entries = [entry for _, found in claimed or [] for entry in found]
        if not entries:
            return
        requests = [request for _, fields in entries if (request := self._read(fields)) is not None]
        pipeline = self.redis.pipeline()
        pipeline.xack(stream, GENERATE_GROUP, *(entry for entry, _ in entries))
        pipeline.xdel(stream, *(entry for entry, _ in entries))
        for request in requests:
            pipeline.set(claimed_key(request.id), self.worker_id, ex=CLAIM_SECONDS)
        try:
            pipeline.execute()
        except RedisError:
            # It may have been done: a claim that nobody works on must not stand.
            self._forgotten |= {request.id for request in requests}
            raise
        for request in requests:
            with tracing.continuing(request.traceparent):
                self._accept(request)

    def _read(self, fields: dict[bytes, bytes] | None) -> GenerationRequest | None:
        if not fields:  # handed to us once, and deleted since
            return None
        try:
            return GenerationRequest.model_validate_json(fields[STREAM_FIELD.encode()])
        except (KeyError, ValidationError) as error:
            log.error("a generation request cannot be read", error=str(error))
            return None

    def _accept(self, request: GenerationRequest) -> None:
        if request.deadline < time.time():
            return
        try:
            matrices = self.matrices.get(request.version)
        except StoreError as error:
            log.error("a version cannot be served", version=request.version, error=str(error))
            self._refuse(request, str(error))
            return
        except Exception:
            # A database or disk that is away must not end the thread that answers everybody.
            log.exception("a version cannot be read", version=request.version)
            self._refuse(request, "the worker cannot read this version now, its log says why; try again later")
            return
        tokenizer = self.batch.tokenizer
        rows = [Row(request, choice, matrices, tokenizer) for choice in range(len(request.prompts) * request.n)]
        self._active[request.id] = _Active(request, len(rows), self._span(request))
        self._waiting.extend(rows)

    def _span(self, request: GenerationRequest) -> Span:
        about: tracing.Attributes = {
            "gen_ai.request.model": request.model,
            "gen_ai.usage.input_tokens": sum(map(len, request.prompts)),
            "emmetd.version": version_name(request.version),
            "emmetd.generation.id": request.id,
            "emmetd.generation.choices": len(request.prompts) * request.n,
            "emmetd.worker.id": self.worker_id,
        }
        return tracing.begin("decode", about, kind="server", parent=request.traceparent)

    def _refuse(self, request: GenerationRequest, message: str) -> None:
        self._reply(request.id, [ErrorEvent(status=503, code="version_unavailable", message=message)])

    def _admit(self) -> list[Row]:
        """Waiting rows that fit the batch and its cache budget; one always fits when nothing else runs."""
        admitted: list[Row] = []
        widest = max((row.most_tokens for row in self.batch.rows), default=0)
        while self._waiting and len(self.batch.rows) + len(admitted) < MOST_ROWS:
            rows = len(self.batch.rows) + len(admitted) + 1
            widest = max(widest, self._waiting[0].most_tokens)
            if rows > 1 and rows * widest * self.batch.slot_bytes() > CACHE_BUDGET_BYTES:
                break
            admitted.append(self._waiting.popleft())
        return admitted

    def _send(self, found: Iterable[RowEvents]) -> None:
        """Everything that one step brought, in one round trip."""
        pipeline = self.redis.pipeline(transaction=False)
        finished: list[_Active] = []
        for row, events in found:
            active = self._active.get(row.request.id)
            if active is None:
                continue
            if not active.tokens and any(event.kind == "tokens" for event in events):
                TIME_TO_FIRST_TOKEN.labels(self.model).observe(time.monotonic() - active.claimed)
                active.span.add_event("first token")
            active.tokens += sum(event.count for event in events if event.kind == "tokens")
            active.open -= row.done
            if not active.open:
                events = [*events, EndEvent(version=row.request.version)]
                finished.append(active)
            reply = reply_stream(row.request.id)
            for event in events:
                active.told += 1
                number = f"{active.told}-0"
                pipeline.xadd(reply, {STREAM_FIELD: event.model_dump_json()}, id=number, maxlen=MOST_REPLY_EVENTS)
            pipeline.expire(reply, REPLY_LIFETIME_SECONDS)
        if len(pipeline):
            _execute(pipeline)
        # Only now: an end that could not be told is a request to be forgotten like any other.
        for active in finished:
            del self._active[active.request.id]
            active.over()
            GENERATED_TOKENS.labels(self.model).inc(active.tokens)
            GENERATION_SECONDS.labels(self.model).observe(time.monotonic() - active.claimed)

    def _reply(self, request_id: str, events: Iterable[GenerationEvent]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(reply_stream(request_id), {STREAM_FIELD: event.model_dump_json()})
        pipeline.expire(reply_stream(request_id), REPLY_LIFETIME_SECONDS)
        pipeline.execute()

    def _drop_unheard(self) -> None:
        """Free the rows of requests whose client hung up or whose time is over, and renew the claims of the others."""
        if not self._active:
            return
        ids = list(self._active)
        cancelled = self.redis.mget([cancelled_key(request_id) for request_id in ids])
        late = time.time()
        gone = {
            request_id
            for request_id, flag in zip(ids, cancelled, strict=True)
            if flag is not None or self._active[request_id].request.deadline < late
        }
        if gone:
            self.batch.leave(lambda row: row.request.id in gone)
            self._waiting = deque(row for row in self._waiting if row.request.id not in gone)
            for request_id in gone:
                self._active.pop(request_id).over("nobody_listens")
        pipeline = self.redis.pipeline(transaction=False)
        for request_id in self._active:
            pipeline.set(claimed_key(request_id), self.worker_id, ex=CLAIM_SECONDS)
        pipeline.execute()

    def _fail_all(self) -> None:
        message = "generation failed; the worker's log says why"
        for request_id in self._active:
            self._reply(request_id, [ErrorEvent(status=500, code="generation_failed", message=message)])
        self._forget_everything("generation_failed")

    def _forget_everything(self, reason: str) -> None:
        self.batch.leave(lambda _: True)
        self._waiting.clear()
        for active in self._active.values():
            active.over(reason)
        self._active.clear()


def _execute(pipeline: Pipeline) -> None:
    """Send events that are numbered: what is sent again because the answer was lost is there only once."""
    for answer in pipeline.execute(raise_on_error=False):
        if isinstance(answer, RedisError) and "equal or smaller than" not in str(answer):
            raise answer
