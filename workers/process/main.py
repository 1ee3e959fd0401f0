"""A worker process from start to end: load the model, make C0 ready, then answer and edit until told to stop."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Final

import structlog
import torch
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from configuration import tracing
from configuration.redis.announcing import Announcer
from configuration.redis.connection import make_redis
from configuration.redis.keys import queues_for
from configuration.settings import Settings
from editing.model.loading import LoadedModel, load_model, prepare_model
from editing.model.projection import GatheredRows, RowVersions
from editing.progress import ProgressCallback
from editing.sources.inspection import same_source
from store.access.audit import Actor
from store.blobs.blob_store import BlobStore
from store.blobs.opening import open_blob_store
from store.lineage import models
from store.schema.database import Database, PoolSize
from workers.context import WorkerContext, set_current
from workers.generation.engine import GenerationEngine
from workers.generation.memory import Budgets, budgets
from workers.generation.running_batch import RunningBatch
from workers.measuring import Measuring
from workers.memory_plan.configured import planned_worker
from workers.memory_plan.enforcing import require_memory
from workers.process.capacity import device_of, dtype_of, measure_tokens_per_second
from workers.process.probes import ProbeServer
from workers.process.registration import as_registered
from workers.process.retrying import retry_until_available
from workers.process.rq_worker import work_until_stopped
from workers.process.start_progress import StartProgress
from workers.statistics.corpora import default_spec
from workers.statistics.layer_statistics import LayerStatistics
from workers.statistics.shared import SharedStatistics
from workers.status import StatusBoard
from workers.tasks.next_edit import prepare_first_edit
from workers.weights.matrix_cache import MatrixCache
from workers.weights.past_keys import PastKeys

SWITCH_SECONDS: Final = 0.0005
"""After so long a thread that runs Python code lets another one. A decode step has hundreds of operations, each of
which gives the interpreter away: beside a task that computes in Python, each would wait ten times as long for it."""

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve `settings.model` until SIGTERM or Ctrl-C. Raises what makes it impossible to start."""
    with tracing.running(settings, "worker"):
        _run(settings)


def _run(settings: Settings) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # In a container both host name and process id are the same after a restart; the dead one must not seem to live.
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    name = settings.served_model_name
    device = device_of(settings.device)
    redis = make_redis(settings, f"worker-{worker_id}")
    database = Database(settings.database_url, PoolSize.of(settings.database_worker_connections))
    announcer = Announcer(redis)
    announcer.start()
    database.on_change = announcer.announce
    blobs = open_blob_store(settings.blob_url, settings.s3)
    status = StatusBoard(redis, worker_id, name, str(device))
    status.start()
    probes = None
    # Until RQ's worker takes over: as the first process of a container a signal without a handler would be ignored.
    signal.signal(signal.SIGTERM, _end)
    try:
        if settings.worker_metrics_port is not None:
            host = settings.worker_metrics_host or settings.host
            probes = ProbeServer(host, settings.worker_metrics_port, status)
        with StartProgress(status) as console:
            given = settings
            settings = retry_until_available(status, lambda: as_registered(database, given))
            status.set("loading", f"loading {settings.model}")
            model = _load(settings, device, console)
            retry_until_available(status, lambda: bind_model(database, blobs, settings, model))
            status.set("statistics", "C0")
            shared = SharedStatistics(database, blobs, model, int(settings.statistic_share_bytes))
            statistics = LayerStatistics(model, settings.data, default_spec(settings), shared)
            retry_until_available(status, lambda: statistics.get(statistics.default_layers(), console))
            retry_until_available(status, lambda: statistics.held_out(console))
        memory = budgets(settings, device)
        log.info("memory for serving", kv_cache_bytes=memory.kv_cache, matrix_cache_bytes=memory.matrix_cache)
        context = WorkerContext(
            id=worker_id,
            name=name,
            settings=settings,
            database=database,
            blobs=blobs,
            model=model,
            statistics=statistics,
            matrices=MatrixCache(name, model.decoder, model.fingerprint, database, blobs, memory.matrix_cache),
            past_keys=PastKeys(name, model.fingerprint, database, blobs),
            measuring=Measuring(model, statistics, int(settings.held_out_cache_bytes), settings.data / "statistics"),
            status=status,
            stopping=threading.Event(),
            tokens_per_second=measure_tokens_per_second(model.decoder),
        )
        _serve(context, redis, memory)
    finally:
        status.close()
        if probes is not None:
            probes.close()
        announcer.stop()
        database.close()


def _load(settings: Settings, device: torch.device, on_progress: ProgressCallback) -> LoadedModel:
    """The model of the settings, after it was said what memory that will take."""
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    prepare_model(settings.model, cache=settings.data, revision=settings.revision, token=token, on_progress=on_progress)
    dtype = dtype_of(settings.dtype, device)
    require_memory(settings, planned_worker(settings, device, dtype))
    return load_model(
        settings.model,
        cache=settings.data,
        name=settings.served_model_name,
        device=device,
        dtype=dtype,
        revision=settings.revision,
        token=token,
        rounded_products=settings.value_products == "auto",
        on_progress=on_progress,
    )


def bind_model(database: Database, blobs: BlobStore, settings: Settings, model: LoadedModel) -> None:
    """Register the model under its NAME and give the front end its tokenizer."""
    projection = model.decoder.projections[0]
    identity = models.ModelIdentity(
        fingerprint=model.fingerprint,
        tokenizer_fingerprint=model.tokenizer_fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        model_type=model.shape.model_type,
        n_layers=model.shape.n_layers,
        d_in=projection.d_in,
        d_out=projection.d_out,
        context_length=model.decoder.context_length,
        tokenizer_blob=blobs.put(model.backend_tokenizer.to_str().encode()),
        chat_template=_chat_template(model),
        special_tokens=dict(model.tokenizer.special_tokens_map),
    )
    with database.writing() as session:
        row = models.register(session, model.name, settings.model, Actor(f"worker:{socket.gethostname()}"))
        # The same weights from another place say nothing of the revisions of the registered one.
        revision = model.source.get("revision") if same_source(settings.model, row.source) else None
        models.bind(session, model.name, identity, revision)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _chat_template(model: LoadedModel) -> str | None:
    """The template for conversations without tools, of the several that a tokenizer may have."""
    template = model.tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def _serve(context: WorkerContext, redis: Redis, memory: Budgets) -> None:
    model, settings = context.model, context.settings
    frame_of = GatheredRows if settings.batch_products == "gathered" else RowVersions
    batch = RunningBatch(model.decoder, model.backend_tokenizer, _end_tokens(model), frame_of)
    engine = GenerationEngine(
        context.name,
        context.id,
        redis,
        batch,
        context.matrices,
        kv_cache_bytes=memory.kv_cache,
        most_versions=settings.batch_versions,
        traffic=context.traffic,
    )
    engine.start()
    set_current(context)
    queues = [Queue(name, connection=redis, serializer=JSONSerializer) for name in queues_for(context.name)]
    context.status.set("ready")
    prepare_first_edit(context)
    log.info("worker ready", model=context.name, fingerprint=model.fingerprint[:12], device=str(model.decoder.device))
    try:
        work_until_stopped(context.id, queues, redis, context.stopping, context.ahead)
    finally:
        context.stopping.set()
        context.status.set("stopping")
        engine.stop()
        engine.join(timeout=10)
    log.info("worker stopped")


def _end_tokens(model: LoadedModel) -> frozenset[int]:
    """Tokens that end a text: the tokenizer's EOS and those of the generation configuration."""
    configured = getattr(getattr(model.decoder.model, "generation_config", None), "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*several, model.tokenizer.eos_token_id) if token is not None)
