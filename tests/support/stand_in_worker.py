"""The worker's side of the protocol, to answer as a test wants: it claims requests, and speaks or falls silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import redis

from configuration.redis.generation_messages import (
    STREAM_FIELD,
    EndEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    TokensEvent,
)
from configuration.redis.keys import claimed_key, generate_stream, reply_stream, worker_key
from configuration.redis.worker_status import WorkerStage, WorkerStatus

Script = Callable[[GenerationRequest], Iterable[GenerationEvent]]


def says_ok(request: GenerationRequest) -> Iterable[GenerationEvent]:
    """ " ok" for every choice."""
    for choice in range(len(request.prompts) * request.n):
        yield TokensEvent(choice=choice, text=" ok", count=1)
        yield FinishEvent(choice=choice, reason="stop")
    yield EndEvent(version=request.version)


class StandInWorker:
    """`seen` are the requests that it claimed; `script` says what it answers."""

    def __init__(self, url: str, model: str, script: Script = says_ok) -> None:
        self.model = model
        self.script = script
        self.seen: list[GenerationRequest] = []
        self.redis = redis.Redis.from_url(url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.say("ready")
        self.redis.xgroup_create(generate_stream(self.model), "workers", id="0", mkstream=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.redis.close()

    def say(self, stage: WorkerStage, detail: str = "") -> None:
        """Publish a status; it lives until the test ends."""
        status = WorkerStatus(
            id="stand-in",
            model=self.model,
            stage=stage,
            detail=detail,
            pid=1,
            host="test",
            device="cpu",
            updated_at=time.time(),
        )
        self.redis.set(worker_key(status.id), status.model_dump_json())

    def die(self) -> None:
        """Stop claiming, and let the status go as if it had run out."""
        self._ended.set()
        self._thread.join()
        self.redis.delete(worker_key("stand-in"))

    def _run(self) -> None:
        stream = generate_stream(self.model)
        while not self._ended.is_set():
            claimed: Any = self.redis.xreadgroup("workers", "stand-in", {stream: ">"}, count=1, block=20)
            for _, entries in claimed or []:
                for entry, fields in entries:
                    request = GenerationRequest.model_validate_json(fields[STREAM_FIELD.encode()])
                    self.redis.set(claimed_key(request.id), "stand-in")
                    self.redis.xack(stream, "workers", entry)
                    self.redis.xdel(stream, entry)
                    self.seen.append(request)
                    for event in self.script(request):
                        self.redis.xadd(reply_stream(request.id), {STREAM_FIELD: event.model_dump_json()})
