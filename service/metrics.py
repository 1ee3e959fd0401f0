"""What the front end tells Prometheus: its own requests, and what SQL and Redis say when they are scraped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from api_schemas.edits import FINAL_STATES
from api_schemas.metrics import LINE_WORN
from api_schemas.references import version_name
from configuration.redis.keys import generate_stream
from service.deployment_metrics import deployment_metrics
from service.live_workers import LiveWorkers
from store.blobs.blob_store import BlobStore
from store.clock import now
from store.errors import BlobError
from store.lineage import models
from store.schema.database import Database
from store.upkeep import storage_figures
from store.webhooks import deliveries
from store.work.kinds import TASK_KINDS
from store.work.waiting import running, waiting

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
WEBHOOK_OUTCOMES: Final = ("delivered", "failed", "given_up")

log = structlog.get_logger(__name__)


class ServiceMetrics:
    """One registry for each application, so that several may live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http_request_duration = Histogram(
            "emmetd_http_request_duration_seconds",
            "Seconds from a request's first byte to the end of its answer",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.webhook_attempts = Counter(
            "emmetd_webhook_attempts", "Attempts to deliver a webhook", ("outcome",), registry=self.registry
        )
        for outcome in WEBHOOK_OUTCOMES:  # a counter that begins at its first event would hide that event
            self.webhook_attempts.labels(outcome)

    def watch(self, database: Database, redis: Redis, workers: LiveWorkers, blobs: BlobStore) -> None:
        """Read `database`, `redis` and the room for `blobs` at every scrape."""
        self.registry.register(_AtScrape(database, redis, workers, blobs))

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


class _AtScrape(Collector):
    """Leaves out what cannot be read now: a gap in a graph is truer than a zero."""

    def __init__(self, database: Database, redis: Redis, workers: LiveWorkers, blobs: BlobStore) -> None:
        self._database = database
        self._redis = redis
        self._workers = workers
        self._blobs = blobs

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("emmetd_queue_depth", "Pieces of work that wait", labels=["queue"])
        age = GaugeMetricFamily(
            "emmetd_queue_oldest_age_seconds", "Seconds that the oldest of them has waited", labels=["queue"]
        )
        info = GaugeMetricFamily(
            "emmetd_model_version_info", "The version that each alias points at", labels=["model", "alias", "version"]
        )
        scores = GaugeMetricFamily(
            "emmetd_version_metric_ratio",
            "What was measured of the version that each alias points at, before it was published",
            labels=["model", "alias", "version", "metric"],
        )
        worn = GaugeMetricFamily(
            "emmetd_line_worn",
            "Whether the version that each alias points at was published with its line worn: 1, else 0",
            labels=["model", "alias"],
        )
        kept = GaugeMetricFamily(
            "emmetd_store_bytes", "Bytes of the deltas and matrices of all versions", labels=["model"]
        )
        tasks = GaugeMetricFamily("emmetd_tasks_running", "Tasks that workers do now", labels=["model", "kind"])
        edits = CounterMetricFamily(
            "emmetd_edits", "Edit batches that ended, by final state", labels=["model", "state"]
        )
        deployed: Iterable[Metric] = ()
        webhooks = GaugeMetricFamily("emmetd_webhooks", "Registered webhooks, by state", labels=["state"])
        undelivered = GaugeMetricFamily("emmetd_webhook_deliveries_waiting", "Deliveries that are still to be made")
        up = GaugeMetricFamily("emmetd_worker_up", "Workers of the model that are ready", labels=["model"])
        try:
            with self._database.reading() as session:
                for queue in waiting(session):
                    depth.add_metric([queue.queue], queue.depth)
                    age.add_metric([queue.queue], max(0.0, (now() - queue.oldest).total_seconds()))
                names = [row.name for row in models.all_models(session)]
                for found in storage_figures.aliased_versions(session):
                    version = [found.model, found.alias, version_name(found.version)]
                    info.add_metric(version, 1)
                    for metric, value in _measured(found.metrics or {}).items():
                        scores.add_metric([*version, metric], value)
                    worn.add_metric([found.model, found.alias], _is_worn(found.metrics or {}))
                for name, size in storage_figures.bytes_by_model(session).items():
                    kept.add_metric([name], size)
                # Also those at 0: a counter that begins at its first event would hide that event.
                ended = dict.fromkeys(((name, state) for name in names for state in sorted(FINAL_STATES)), 0)
                for (model, state), count in (ended | storage_figures.ended_batches(session)).items():
                    edits.add_metric([model, state], count)
                deployed = deployment_metrics(session)
                for webhook_state, count in deliveries.webhooks_by_state(session).items():
                    webhooks.add_metric([webhook_state], count)
                undelivered.add_metric([], deliveries.waiting_everywhere(session))
                held = running(session)
                for model, kind in sorted({*held, *((name, kind) for name in names for kind in TASK_KINDS)}):
                    tasks.add_metric([model, kind], held.get((model, kind), 0))
            for name in names:
                stream = generate_stream(name)
                depth.add_metric([stream], float(self._redis.xlen(stream)))
                ready = sum(status.stage == "ready" for status in self._workers.of_model(name))
                up.add_metric([name], ready)
        except (SQLAlchemyError, RedisError, OSError) as error:
            log.warning("metrics are incomplete", error=f"{type(error).__name__}: {error}")
        yield from (
            *(depth, age, info, scores, worn, kept, tasks, edits, webhooks, undelivered, up),
            *deployed,
            self._room(),
        )

    def _room(self) -> Metric:
        free = GaugeMetricFamily("emmetd_store_free_bytes", "Bytes that may still be written to the store of blobs")
        try:
            found = self._blobs.free_bytes()
        except (BlobError, OSError) as error:
            log.warning("metrics are incomplete", error=f"{type(error).__name__}: {error}")
        else:
            if found is not None:
                free.add_metric([], found)
        return free


def _measured(metrics: dict[str, Any]) -> dict[str, float]:
    """Name → value of the measurements after the edit that have one. An older release may have written other fields."""
    retained = (metrics.get("retained") or {}).get("after") or {}
    drift = metrics.get("drift") or {}
    found = {
        **metrics.get("after", {}),
        **{f"retained_{name}": measured for name, measured in retained.items()},
        "drift": drift,
        "drift_parent": {"value": drift.get("parent")},
    }
    values = {name: (measured or {}).get("value") for name, measured in found.items()}
    return {name: value for name, value in values.items() if value is not None}


def _is_worn(metrics: dict[str, Any]) -> int:
    return int(any(one.get("code") == LINE_WORN for one in metrics.get("warnings") or ()))
