"""The generation engine: the thread that claims requests from Redis, schedules, prefills, decodes and replies."""

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
from workers.generation.replies import ActiveRequest, Replies
from workers.generation.request_queue import RequestQueue
from workers.generation.running_batch import FAILED, RunningBatch, SequenceEvents
from workers.generation.scheduler import Scheduler
from workers.generation.traffic import Traffic
from workers.generation.version_loader import VersionLoader
from workers.metrics import GENERATED_TOKENS, GENERATION_SECONDS, TIME_TO_FIRST_TOKEN
from workers.weights.matrix_cache import MatrixCache

BLOCK_MILLISECONDS = 1000
CHECK_SECONDS = 0.5
PAUSE_SECONDS = 0.02
"""How long a turn waits where there is nothing to decode before some version is ready."""

log = structlog.get_logger(__name__)


class GenerationEngine(threading.Thread):
    """One turn after another: claim what fits, read a piece of the prompts of new sequences, make one decode step.

    Versions are made ready and claims renewed by other threads, so that nothing but decoding takes this one's time.
    """

    def __init__(
        self,
        model: str,
        worker_id: str,
        redis: Redis,
        batch: RunningBatch,
        matrices: MatrixCache,
        *,
        kv_cache_bytes: int,
        most_versions: int,
        traffic: Traffic | None = None,
    ) -> None:
        """`kv_cache_bytes` is what the sequences' caches may come to need together, `most_versions` how many they are
        of; `traffic` is told whether there are any."""
        super().__init__(name="generation", daemon=True)
        self.model = model
        self.worker_id = worker_id
        self.redis = redis
        self.batch = batch
        self.matrices = matrices
        self.claims = Claims(model, worker_id, redis)
        self._request_queue = RequestQueue(model, worker_id, redis, self.claims)
        self._version_loader = VersionLoader(matrices)
        self._scheduler = Scheduler(batch, self._version_loader, kv_cache_bytes, most_versions)
        self._active: dict[str, ActiveRequest] = {}
        self._traffic = Traffic() if traffic is None else traffic
        self._stop_requested = threading.Event()
        self._checked_at = time.monotonic()
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
            self._version_loader.stop()
            self.batch.close()

    def _run(self) -> None:
        delay = CHECK_SECONDS
        while not (self._stop_requested.is_set() and not self._active):
            try:
                self._request_queue.open()
                self._claim(redelivered=True)
                while not (self._stop_requested.is_set() and not self._active):
                    self._step()
                    delay = CHECK_SECONDS
            except RedisError as error:
                # Nobody can hear what is being decoded; the front end has told its clients already.
                self._request_queue.mark_lost(self._active)
                self._release_all("redis_away")
                log.warning("generation waits for redis", error=str(error), retry_seconds=delay)
                self._stop_requested.wait(delay)
                delay = min(delay * 2, 10)

    def _step(self) -> None:
        try:
            self._claim()
            self._schedule()
            self._send(self.batch.prefill())
            self._send(self.batch.step())
            if time.monotonic() - self._checked_at > CHECK_SECONDS:
                self._checked_at = time.monotonic()
                self._drop_abandoned()
                # A read whose answer was lost on the way is made again, but its entries are handed out only once.
                self._claim(redelivered=True)
        except RedisError:
            raise
        except Exception:
            log.exception("decoding failed")
            self._fail(list(self._active), 500, "generation_failed", FAILED)
        if not self.batch.all_sequences and self._scheduler:
            self._version_loader.wait(PAUSE_SECONDS)

    def _claim(self, *, redelivered: bool = False) -> None:
        claimable = 0 if self._stop_requested.is_set() else self._scheduler.claimable
        if not claimable:  # Redis reads no 0 entries
            return
        # While others wait here, one at a time: this turn's place may be all that there is.
        most = 1 if self._scheduler else claimable
        block = None if self._active or redelivered else BLOCK_MILLISECONDS
        for request in self._request_queue.take(most, block, redelivered=redelivered):
            with tracing.continuing(request.traceparent):
                self._accept(request)

    def _accept(self, request: GenerationRequest) -> None:
        self._active[request.id] = ActiveRequest(request, len(request.prompts) * request.n, self._span(request))
        self._traffic.is_any(True)
        embedded = self.batch.decoder.embedded
        highest = max(max(prompt) for prompt in request.prompts)
        if highest >= embedded:
            message = f"a prompt has the token id {highest}; this model knows those of 0 to {embedded - 1}"
            self._fail([request.id], 400, "invalid_fields", message)
        else:
            self._scheduler.add(request)

    def _span(self, request: GenerationRequest) -> Span:
        attributes: tracing.Attributes = {
            "gen_ai.request.model": request.model,
            "gen_ai.usage.input_tokens": sum(map(len, request.prompts)),
            "emmetd.version": version_name(request.version),
            "emmetd.generation.id": request.id,
            "emmetd.generation.choices": len(request.prompts) * request.n,
            "emmetd.worker.id": self.worker_id,
        }
        return tracing.begin("decode", attributes, kind="server", parent=request.traceparent)

    def _schedule(self) -> None:
        if not self.batch.accepts_prefills or not self._scheduler:
            return
        sequences, refused = self._scheduler.schedule()
        for request, reason in refused:
            self._fail([request.id], 503, "version_unavailable", reason)
        if sequences:
            self._send(self.batch.join(sequences))

    def _send(self, sequence_events: Iterable[SequenceEvents]) -> None:
        """Everything that one step brought, in one round trip."""
        replies = Replies(self.redis)
        finished: list[ActiveRequest] = []
        failed: dict[str, ErrorEvent] = {}
        for sequence, events in sequence_events:
            active = self._active.get(sequence.request.id)
            if active is None or sequence.request.id in failed:
                continue
            error = next((event for event in events if isinstance(event, ErrorEvent)), None)
            if error is not None:
                failed[sequence.request.id] = error
                continue
            if not active.tokens and any(event.kind == "tokens" for event in events):
                TIME_TO_FIRST_TOKEN.labels(self.model).observe(time.monotonic() - active.claimed)
                active.span.add_event("first token")
            active.tokens += sum(event.count for event in events if event.kind == "tokens")
            active.unfinished -= sequence.is_finished
            replies.add(active, events)
            if not active.unfinished:
                replies.end(active)
                finished.append(active)
        replies.send()
        # Only now: an end that could not be told is a request to be released like any other.
        for active in finished:
            self._release([active.request.id])
            GENERATED_TOKENS.labels(self.model).inc(active.tokens)
            GENERATION_SECONDS.labels(self.model).observe(time.monotonic() - active.claimed)
        for request_id, error in failed.items():
            self._fail([request_id], error.status, error.code, error.message)

    def _drop_abandoned(self) -> None:
        """Free the sequences of requests whose client hung up or whose time is over."""
        if not self._active:
            return
        ids = list(self._active)
        cancelled = self.redis.mget([cancelled_key(request_id) for request_id in ids])
        now = time.time()
        self._release(
            [
                request_id
                for request_id, flag in zip(ids, cancelled, strict=True)
                if flag is not None or self._active[request_id].request.deadline < now
            ],
            "nobody_listens",
        )

    def _fail(self, ids: list[str], status: int, code: str, message: str) -> None:
        """Tell the clients of these requests why they get no answer, and go on without them."""
        replies = Replies(self.redis)
        for request_id in ids:
            replies.fail(self._active[request_id], status, code, message)
        replies.send()
        self._release(ids, code)

    def _release_all(self, reason: str) -> None:
        self._release(list(self._active), reason)
        self._scheduler.clear()

    def _release(self, ids: list[str], reason: str | None = None) -> None:
        """Nothing more is done for these; `reason` where they were not answered whole."""
        if not ids:
            return
        released = frozenset(ids)
        self.claims.release(released)
        for request_id in released:
            self._scheduler.drop(request_id)
            self._active.pop(request_id).close(reason)
        self._traffic.is_any(bool(self._active))
        self.batch.leave(lambda sequence: sequence.request.id in released)
