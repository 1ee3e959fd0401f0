"""What every request works with: settings, SQL, blobs, Redis, tokenizers, and the relay that hands on what was kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Final

from anyio import CapacityLimiter
from fastapi import Depends, Request
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.retry import Retry

from configuration.redis.announcing import Announcer
from configuration.redis.connection import make_async_redis, make_redis
from configuration.settings import Settings
from service.access.caller import NOBODY, Caller
from service.access.gate import Gate
from service.access.rates import Rates
from service.access.streams import EventStreams
from service.access.uses import KeyUses
from service.access.watch import KeyWatch
from service.delivery.addresses import AddressGuard
from service.delivery.posting import Poster
from service.delivery.sender import Sender
from service.http.large_bodies import LargeBodies
from service.live_workers import LiveWorkers
from service.metrics import ServiceMetrics
from service.relay import Relay
from service.state.batch_feed import BatchFeed
from service.state.bounded_work import BoundedWork
from service.state.reply_reader import ReplyReader
from service.state.single_flight import SingleFlight
from service.state.tokenizers import TokenizerCache
from service.state.weight_diffs import WeightDiffs
from store.blobs.blob_store import BlobStore
from store.blobs.opening import open_blob_store
from store.schema.database import Database, PoolSize
from store.upkeep.availability import StorageHealth

_CLIENT_NAME: Final = "emmetd-api"
_INSPECTIONS: Final = 2
"""Models that are looked at on the hub at once. It may take its time: others need the threads that requests share."""
_LOOKS_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Resources:
    """Opened with the application and closed with it. `redis` is for threads, `async_redis` for the event loop.

    Each request has its own copy, which says who makes it: `caller`.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    redis: Redis
    async_redis: AsyncRedis
    tokenizers: TokenizerCache
    workers: LiveWorkers
    relay: Relay
    sender: Sender
    replies: ReplyReader
    metrics: ServiceMetrics
    storage: StorageHealth
    readiness: SingleFlight[list[str]]
    exposition: SingleFlight[bytes]
    diffs: WeightDiffs
    comparisons: BoundedWork
    reports: BoundedWork
    feed: BatchFeed
    streams: EventStreams
    waits: CapacityLimiter
    rates: Rates
    gate: Gate
    watch: KeyWatch
    large_bodies: LargeBodies
    inspections: CapacityLimiter
    caller: Caller = NOBODY


@asynccontextmanager
async def open_resources(settings: Settings, metrics: ServiceMetrics) -> AsyncIterator[Resources]:
    database = Database(settings.database_url, PoolSize.of(settings.database_connections))
    blobs = open_blob_store(settings.blob_url, settings.s3)
    threads_redis = make_redis(settings, _CLIENT_NAME)
    # Probes and the relay would rather hear at once that Redis is away; one more try is for a connection gone stale.
    threads_redis.set_retry(Retry(NoBackoff(), 1))
    async_redis = make_async_redis(settings, _CLIENT_NAME)
    announcer = Announcer(threads_redis)
    database.on_change = announcer.announce
    workers = LiveWorkers(threads_redis)
    uses = KeyUses(database)
    rates = Rates(threads_redis)
    gate = Gate(settings, uses, rates)
    relay = Relay(database, threads_redis)
    poster = Poster(AddressGuard(settings.allowed_webhook_networks), settings.webhook_timeout_seconds)
    sender = Sender(database, poster.post, metrics, keep=timedelta(days=settings.webhook_log_days))
    metrics.watch(database, threads_redis, workers, blobs)
    announcer.start()
    relay.start()
    sender.start()
    try:
        async with (
            ReplyReader(async_redis).running() as replies,
            BatchFeed(database, async_redis).running() as feed,
        ):
            yield Resources(
                settings=settings,
                database=database,
                blobs=blobs,
                redis=threads_redis,
                async_redis=async_redis,
                tokenizers=TokenizerCache(blobs),
                workers=workers,
                relay=relay,
                sender=sender,
                replies=replies,
                metrics=metrics,
                storage=StorageHealth(database, blobs),
                readiness=SingleFlight(),
                exposition=SingleFlight(),
                diffs=WeightDiffs(blobs),
                # One at a time, so that few requests do not take all memory.
                comparisons=BoundedWork("comparisons of versions", at_once=1, most=16, most_of_a_caller=4),
                # Of 10,000 facts one reads as many rows.
                reports=BoundedWork("reports of evaluations", at_once=1, most=16, most_of_a_caller=4),
                feed=feed,
                streams=EventStreams(),
                # For the looks of answers that wait, however many those are.
                waits=CapacityLimiter(_LOOKS_AT_ONCE),
                rates=rates,
                gate=gate,
                watch=KeyWatch(gate.database),
                large_bodies=LargeBodies(),
                inspections=CapacityLimiter(_INSPECTIONS),
            )
    finally:
        relay.stop()
        sender.stop()
        announcer.stop()
        await async_redis.aclose()
        threads_redis.close()
        uses.close()
        gate.close()
        database.close()


async def _resources(request: Request) -> Resources:  # a plain function would wait for a thread, at every request
    found: Resources = request.app.state.resources
    # Put there by `service.auth`, before anything else; a route that it does not guard has nothing to work with.
    return replace(found, caller=request.state.caller)


ResourcesDependency = Annotated[Resources, Depends(_resources)]
