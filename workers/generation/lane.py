"""The thread that answers generation requests from the model's Redis stream, beside whatever is being edited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from api_schemas.generation import EndEvent, ErrorEvent, GenerationEvent, GenerationRequest
from configuration.redis_keys import cancelled_key, generate_stream, reply_stream
from editing.projection import Version, frame
from versions.errors import StoreError
from workers.generation.decoding import RequestDecoder
from workers.materialise import MatrixCache
from workers.metrics import GENERATED_TOKENS, GENERATION_SECONDS, TIME_TO_FIRST_TOKEN

GROUP = "workers"
BLOCK_MILLISECONDS = 1000
REPLY_LIFETIME_SECONDS = 300
MOST_REPLY_EVENTS = 200_000
FIELD = "json"

log = structlog.get_logger(__name__)


class GenerationLane(threading.Thread):
    """Claims requests through the stream's consumer group, so that of several workers one answers each.

    A claimed request is acknowledged at once: if this worker dies the client gets a 503 and asks again, rather than
    some tokens twice.
    """

    def __init__(
        self, model: str, worker_id: str, redis: Redis, decoder: RequestDecoder, matrices: MatrixCache
    ) -> None:
        super().__init__(name="generation", daemon=True)
        self.model = model
        self.worker_id = worker_id
        self.redis = redis
        self.decoder = decoder
        self.matrices = matrices
        self._stop_requested = threading.Event()

    def stop(self) -> None:
        """Finish the request at hand, then end."""
        self._stop_requested.set()

    def run(self) -> None:
        delay = 0.5
        while not self._stop_requested.is_set():
            try:
                self._serve()
                delay = 0.5
            except RedisError as error:
                log.warning("generation waits for redis", error=str(error), retry_seconds=delay)
                self._stop_requested.wait(delay)
                delay = min(delay * 2, 10)

    def _serve(self) -> None:
        stream = generate_stream(self.model)
        try:
            self.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        while not self._stop_requested.is_set():
            claimed = self.redis.xreadgroup(GROUP, self.worker_id, {stream: ">"}, count=1, block=BLOCK_MILLISECONDS)
            for _, entries in claimed or []:
                for entry, fields in entries:
                    pipeline = self.redis.pipeline()
                    pipeline.xack(stream, GROUP, entry)
                    pipeline.xdel(stream, entry)
                    pipeline.execute()
                    self._answer(fields)

    def _answer(self, fields: dict[bytes, bytes]) -> None:
        try:
            request = GenerationRequest.model_validate_json(fields[FIELD.encode()])
        except (KeyError, ValidationError) as error:
            log.error("a generation request cannot be read", error=str(error))
            return
        if request.deadline < time.time():
            return
        reply = reply_stream(request.id)
        started = time.monotonic()

        def send(events: list[GenerationEvent]) -> None:
            pipeline = self.redis.pipeline(transaction=False)
            for event in events:
                pipeline.xadd(reply, {FIELD: event.model_dump_json()}, maxlen=MOST_REPLY_EVENTS)
            pipeline.expire(reply, REPLY_LIFETIME_SECONDS)
            pipeline.execute()

        try:
            matrices = self.matrices.get(request.version)
            tokens = 0
            with frame(Version(matrices)):
                for event in self.decoder.decode(request, self._cancelled(request)):
                    if event.kind == "tokens":
                        if not tokens:
                            TIME_TO_FIRST_TOKEN.labels(self.model).observe(time.monotonic() - started)
                        tokens += event.count
                    send([event])
            send([EndEvent(version=request.version)])
            GENERATED_TOKENS.labels(self.model).inc(tokens)
            GENERATION_SECONDS.labels(self.model).observe(time.monotonic() - started)
        except StoreError as error:
            log.error("a version cannot be served", version=request.version, error=str(error))
            send([ErrorEvent(status=503, code="version_unavailable", message=str(error))])
        except RedisError:
            raise
        except Exception:
            log.exception("generation failed", version=request.version)
            send(
                [
                    ErrorEvent(
                        status=500, code="generation_failed", message="generation failed; the worker's log says why"
                    )
                ]
            )

    def _cancelled(self, request: GenerationRequest) -> Callable[[], bool]:
        """Asked between decode steps; looks at Redis and the clock at most twice a second."""
        looked = time.monotonic()

        def cancelled() -> bool:
            nonlocal looked
            if time.monotonic() - looked < 0.5:
                return False
            looked = time.monotonic()
            return time.time() > request.deadline or bool(self.redis.exists(cancelled_key(request.id)))

        return cancelled
