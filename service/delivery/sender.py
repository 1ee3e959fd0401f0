"""The thread that delivers: nothing else waits for it, and a receiver that is slow holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.delivery.signing import body_of, headers_of
from service.metrics import ServiceMetrics
from store.clock import now
from store.schema.database import Database
from store.webhooks import deliveries
from store.webhooks.deliveries import Attempt, Claim, Outcome, RetryPolicy

INTERVAL_SECONDS: Final = 1.0
MOST_AT_A_TIME: Final = 16
"""Receivers that are spoken to side by side."""
_HOLD: Final = timedelta(minutes=3)
"""Far beyond the longest attempt, with a name service that is slow: then whoever held the webhook is gone."""
_PRUNE_EVERY: Final = timedelta(minutes=10)
_LONGEST_PAUSE_SECONDS: Final = 30.0
_END_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class Post(Protocol):
    def __call__(self, url: str, headers: dict[str, str], body: bytes) -> Outcome: ...


class Sender(threading.Thread):
    """Looks once a second for what is due. Any number may run side by side: each webhook is held by one at a time."""

    def __init__(
        self,
        database: Database,
        post: Post,
        metrics: ServiceMetrics,
        *,
        keep: timedelta,
        policy: RetryPolicy | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._database = database
        self._post = post
        self._metrics = metrics
        self._keep = keep
        self._policy = policy or RetryPolicy()
        self._clock = clock
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._places = threading.Semaphore(MOST_AT_A_TIME)
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._pruned_at = datetime.min.replace(tzinfo=clock().tzinfo)

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    def stop(self) -> None:
        """What is being sent is not waited for: it is sent again by whoever comes next, under the same id."""
        self._ended.set()
        self._woken.set()
        if self.is_alive():
            self.join(timeout=_END_SECONDS)

    def run(self) -> None:
        pause, away = INTERVAL_SECONDS, False
        while not self._ended.is_set():
            try:
                self._round()
            except Exception as error:
                if not away:
                    log.warning("webhooks wait", error=type(error).__name__, exc_info=not _is_away(error))
                away, pause = True, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                away, pause = False, INTERVAL_SECONDS
            self._woken.wait(pause)
            self._woken.clear()

    def _round(self) -> None:
        moment = self._clock()
        with self._database.reading() as session:
            found = deliveries.due(session, moment)
        for webhook_id in found:
            with self._lock:
                if webhook_id in self._busy or not self._places.acquire(blocking=False):
                    continue
                self._busy.add(webhook_id)
            threading.Thread(target=self._serve_apart, args=(webhook_id,), name="webhook", daemon=True).start()
        if moment - self._pruned_at >= _PRUNE_EVERY:
            self._pruned_at = moment
            self._prune(moment - self._keep)

    def _serve_apart(self, webhook_id: str) -> None:
        try:
            self.serve(webhook_id)
        except Exception as error:
            log.warning("a webhook waits", webhook=webhook_id, error=type(error).__name__, exc_info=not _is_away(error))
        finally:
            with self._lock:
                self._busy.discard(webhook_id)
            self._places.release()

    def serve(self, webhook_id: str) -> int:
        """Send what is due to one receiver, one after the other, until nothing is; how many attempts that were."""
        with self._database.writing() as session:
            held = deliveries.claim(session, webhook_id, self._clock(), _HOLD)
        if held is None:
            return 0
        attempts = 0
        while not self._ended.is_set():
            with self._database.reading() as session:
                attempt = deliveries.next_attempt(session, held, self._clock())
            if attempt is None:
                break
            self._attempt(held, attempt)
            attempts += 1
        with self._database.writing() as session:
            deliveries.release(session, held)
        return attempts

    def _attempt(self, held: Claim, attempt: Attempt) -> None:
        body = body_of(attempt.type, attempt.happened_at, attempt.data)
        headers = headers_of(attempt.message, self._clock(), body, attempt.secrets)
        outcome = self._post(attempt.url, headers, body)
        with self._database.writing() as session:
            state = deliveries.conclude(session, held, attempt, outcome, self._clock(), _HOLD, self._policy)
        self._metrics.webhook_attempts.labels(_named(outcome, state)).inc()
        if outcome.error is not None:
            log.info("a webhook was not taken", webhook=held.webhook_id, message=attempt.message, status=outcome.status)

    def _prune(self, before: datetime) -> None:
        with self._database.reading() as session:
            if not deliveries.has_older(session, before):
                return
        while not self._ended.is_set():
            with self._database.writing() as session:
                if deliveries.prune(session, before) < deliveries.PRUNED_AT_ONCE:
                    return


def _named(outcome: Outcome, state: str) -> str:
    if outcome.error is None:
        return "delivered"
    return "given_up" if state == "given_up" else "failed"


def _is_away(error: Exception) -> bool:
    return isinstance(error, SQLAlchemyError | OSError)
