"""The thread that owns decoding: requests from the model's Redis stream, tokens back, beside whatever is edited."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import structlog
import torch
from opentelemetry.trace import Span
from redis import Redis
from redis.exceptions import RedisError

from api_schemas.references import version_name
from configuration import tracing
from configuration.redis.generation_messages import ErrorEvent, GenerationRequest
from configuration.redis.keys import cancelled_key
from editing.parallel import use_cores
from workers.generation.claims import Claims
from workers.generation.decoding import FAILED, DecodeBatch, RowEvents
from workers.generation.inbox import Inbox
from workers.generation.preparation import Preparation
from workers.generation.replies import Active, Replies
from workers.generation.waiting import WaitingRequests
from workers.metrics import GENERATED_TOKENS, GENERATION_SECONDS, TIME_TO_FIRST_TOKEN
from workers.weights.materialise import MatrixCache

BLOCK_MILLISECONDS = 1000
LOOK_SECONDS = 0.5
PAUSE_SECONDS = 0.02
"""How long a turn waits where there is nothing to decode before some version is ready."""

log = structlog.get_logger(__name__)


class GenerationLane(threading.Thread):
    """One turn after another: claim what fits, read a piece of the prompts of new rows, make one decode step.

    Versions are made ready and claims renewed by other threads, so that nothing but decoding takes this one's time.
    """

    def __init__(
        self,
        model: str,
        worker_id: str,
        redis: Redis,
        batch: DecodeBatch,
        matrices: MatrixCache,
        *,
        kv_cache_bytes: int,
        most_versions: int,
    ) -> None:
        """`kv_cache_bytes` is what the rows' caches may come to need together, `most_versions` how many they are of."""
        super().__init__(name="generation", daemon=True)
        self.model = model
        self.worker_id = worker_id
        self.redis = redis
        self.batch = batch
        self.matrices = matrices
        self.claims = Claims(model, worker_id, redis)
        self._inbox = Inbox(model, worker_id, redis, self.claims)
        self._preparation = Preparation(matrices)
        self._waiting = WaitingRequests(batch, self._preparation, kv_cache_bytes, most_versions)
        self._active: dict[str, Active] = {}
        self._stop_requested = threading.Event()
        self._looked = time.monotonic()
        self._cores = torch.get_num_threads()

    def stop(self) -> None:
        """Claim nothing more, finish what was claimed, then end."""
        self._stop_requested.set()

    def run(self) -> None:
        use_cores(self._cores)
        self.claims.start()
        try:
            self._run()
        finally:
            self.claims.stop()
            self._preparation.stop()
            self.batch.close()

    def _run(self) -> None:
        delay = LOOK_SECONDS
        while not (self._stop_requested.is_set() and not self._active):
            try:
                self._inbox.open()
                self._claim(again=True)
                while not (self._stop_requested.is_set() and not self._active):
                    self._turn()
                    delay = LOOK_SECONDS
            except RedisError as error:
                # Nobody can hear what is being decoded; the front end has told its clients already.
                self._inbox.lose(self._active)
                self._forget_everything("redis_away")
                log.warning("generation waits for redis", error=str(error), retry_seconds=delay)
                self._stop_requested.wait(delay)
                delay = min(delay * 2, 10)

    def _turn(self) -> None:
        try:
            self._claim()
            self._admit()
            self._send(self.batch.read())
            self._send(self.batch.step())
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._looked = time.monotonic()
                self._drop_unheard()
                # A read whose answer was lost on the way is made again, but its entries are handed out only once.
                self._claim(again=True)
        except RedisError:
            raise
        except Exception:
            log.exception("decoding failed")
            self._fail(list(self._active), 500, "generation_failed", FAILED)
        if not self.batch.members and self._waiting:
            self._preparation.wait(PAUSE_SECONDS)

    def _claim(self, *, again: bool = False) -> None:
        room = 0 if self._stop_requested.is_set() else self._waiting.room
        if not room:  # Redis reads no 0 entries
            return
        # While others wait here, one at a time: this turn's place may be all that there is.
        most = 1 if self._waiting else room
        block = None if self._active or again else BLOCK_MILLISECONDS
        for request in self._inbox.take(most, block, again=again):
            with tracing.continuing(request.traceparent):
                self._accept(request)

    def _accept(self, request: GenerationRequest) -> None:
        self._active[request.id] = Active(request, len(request.prompts) * request.n, self._span(request))
        embedded = self.batch.decoder.embedded
        highest = max(max(prompt) for prompt in request.prompts)
        if highest >= embedded:
            message = f"a prompt has the token id {highest}; this model knows those of 0 to {embedded - 1}"
            self._fail([request.id], 400, "invalid_fields", message)
        else:
            self._waiting.add(request)

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

    def _admit(self) -> None:
        if not self.batch.takes_more or not self._waiting:
            return
        rows, refused = self._waiting.next_rows()
        for request, reason in refused:
            self._fail([request.id], 503, "version_unavailable", reason)
        if rows:
            self._send(self.batch.join(rows))

    def _send(self, found: Iterable[RowEvents]) -> None:
        """Everything that one step brought, in one round trip."""
        replies = Replies(self.redis)
        finished: list[Active] = []
        failed: dict[str, ErrorEvent] = {}
        for row, events in found:
            active = self._active.get(row.request.id)
            if active is None or row.request.id in failed:
                continue
            error = next((event for event in events if isinstance(event, ErrorEvent)), None)
            if error is not None:
                failed[row.request.id] = error
                continue
            if not active.tokens and any(event.kind == "tokens" for event in events):
                TIME_TO_FIRST_TOKEN.labels(self.model).observe(time.monotonic() - active.claimed)
                active.span.add_event("first token")
            active.tokens += sum(event.count for event in events if event.kind == "tokens")
            active.open -= row.done
            replies.add(active, events)
            if not active.open:
                replies.end(active)
                finished.append(active)
        replies.send()
        # Only now: an end that could not be told is a request to be forgotten like any other.
        for active in finished:
            self._forget([active.request.id])
            GENERATED_TOKENS.labels(self.model).inc(active.tokens)
            GENERATION_SECONDS.labels(self.model).observe(time.monotonic() - active.claimed)
        for request_id, error in failed.items():
            self._fail([request_id], error.status, error.code, error.message)

    def _drop_unheard(self) -> None:
        """Free the rows of requests whose client hung up or whose time is over."""
        if not self._active:
            return
        ids = list(self._active)
        cancelled = self.redis.mget([cancelled_key(request_id) for request_id in ids])
        late = time.time()
        self._forget(
            [
                request_id
                for request_id, flag in zip(ids, cancelled, strict=True)
                if flag is not None or self._active[request_id].request.deadline < late
            ],
            "nobody_listens",
        )

    def _fail(self, ids: list[str], status: int, code: str, message: str) -> None:
        """Tell the clients of these requests why they get no answer, and go on without them."""
        replies = Replies(self.redis)
        for request_id in ids:
            replies.fail(self._active[request_id], status, code, message)
        replies.send()
        self._forget(ids, code)

    def _forget_everything(self, reason: str) -> None:
        self._forget(list(self._active), reason)
        self._waiting.clear()

    def _forget(self, ids: list[str], reason: str | None = None) -> None:
        """Nothing more is done for these; `reason` where they were not answered whole."""
        if not ids:
            return
        gone = frozenset(ids)
        self.claims.release(gone)
        for request_id in gone:
            self._waiting.drop(request_id)
            self._active.pop(request_id).over(reason)
        self.batch.leave(lambda row: row.request.id in gone)
