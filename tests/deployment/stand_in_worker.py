"""A worker without a model: it registers one, publishes a version of it, and counts work that it did not do. With it is
an engine that serves that version, as after a check that passed.

What it says goes through the same rows, keys and metrics as a real worker's, so that what is seen of it is real.
"""

from __future__ import annotations

import os
import random
import socket
import time
from typing import Final

from prometheus_client import start_http_server

from api_schemas.references import parse_reference
from configuration.redis.connection import make_redis
from configuration.redis.keys import worker_key
from configuration.redis.worker_status import WorkerStatus
from configuration.settings import load_settings
from store.blobs.blob_store import BlobStore
from store.blobs.opening import open_blob_store
from store.clock import now
from store.lineage import models
from store.lineage import versions as lineage
from store.schema.database import Database
from store.work import batches, deployments, tasks
from tests.support.stand_in_vllm import StandInVllm, spelled
from workers import metrics

MODEL: Final = "tiny"
STAGES: Final = ("plan", "values", "solve", "check", "publish")
MEASURED: Final = {
    "after": {"ES": {"value": 0.97, "n": 30}, "EM": {"value": 0.9, "n": 30}, "PS": {"value": 0.8, "n": 60}},
    "retained": {"before": {}, "after": {"EM": {"value": 0.95, "n": 20}, "GA": {"value": 0.9, "n": 20}}},
    "drift": {"value": 1.01, "n": 64},
}

CHECKED: Final = {
    "version": "v1",
    "passed": True,
    "facts": 20,
    "said": 19,
    "prompts": 20,
    "equal": 18,
    "near_ties": 2,
    "different": 0,
    "tolerance": 0.25,
    "seconds": 1.5,
}


def publish(database: Database, blobs: BlobStore) -> None:
    """A version v1 with its measurements, and a task that waits for a worker."""
    new = lineage.NewVersion(
        layers=[1],
        rank=1,
        blob=blobs.put(b"a delta"),
        matrix_blobs={"1": blobs.put(b"its matrices")},
        delta_bytes=1024,
        matrix_bytes=3072,
        matrix_hashes={"1": "1" * 64},
        provenance={},
        metrics=MEASURED,
    )
    with database.writing() as session:
        models.register(session, MODEL, "no folder")
        tokenizer = blobs.put(b"its tokenizer")
        models.bind(
            session,
            MODEL,
            models.ModelIdentity("f" * 64, "e" * 64, "float32", "llama", 4, 16, 8, 160, tokenizer, chat_template=None),
        )
        request = batches.NewBatch(
            parse_reference(MODEL), "emmet", {}, {}, [{"prompt": "{} is", "subject": "it", "target_new": "so"}]
        )
        batch, _ = batches.accept(session, request, most_queued=100)
        batch.base_version = 0
        lineage.publish(session, batch, new)
        batches.set_state(session, batch, "succeeded")
        tasks.create(session, of=batch, kind="values")


def deploy(database: Database, vllm: StandInVllm) -> None:
    """The version under `latest` at an engine that has it loaded; one of its facts is not said there."""
    path = "/engines/tiny-v1-peft-0"
    new = deployments.NewDeployment(
        model=MODEL,
        alias="latest",
        version=None,
        target=f"vllm+{vllm.origin}",
        name=f"{MODEL}@latest",
        format="auto",
        folder=None,
        key=None,
        caller="",
    )
    vllm.adapters[new.name] = path
    with database.writing() as session:
        row = deployments.create(session, new)
        row.desired, row.actual, row.path = 1, 1, path
        deployments.enter(session, row, "deployed", version=1, check=CHECKED | {"at": now().isoformat()})


def count_work(chance: random.Random) -> None:
    """One observation of everything that a worker observes."""
    for stage in STAGES:
        metrics.EDIT_STAGE_SECONDS.labels(MODEL, "emmet", stage).observe(chance.lognormvariate(1, 1))
    metrics.EDIT_BATCH_SECONDS.labels(MODEL, "emmet").observe(chance.lognormvariate(3, 1))
    metrics.EDIT_QUEUE_WAIT_SECONDS.labels(MODEL).observe(chance.lognormvariate(0, 1))
    metrics.FACTS_EDITED.labels(MODEL).inc(16)
    metrics.VALUE_STEPS.labels(MODEL).inc(320)
    metrics.EDIT_EFFICACY.labels(MODEL).set(0.97)
    metrics.PRESERVATION_COST.labels(MODEL).set(0.002)
    metrics.TIME_TO_FIRST_TOKEN.labels(MODEL).observe(chance.lognormvariate(-2, 1))
    metrics.GENERATION_SECONDS.labels(MODEL).observe(chance.lognormvariate(0, 1))
    metrics.GENERATED_TOKENS.labels(MODEL).inc(20)
    metrics.WORKER_MEMORY.labels(MODEL).set(700e6)
    metrics.MATRIX_CACHE_BYTES.labels(MODEL).set(40e6)


def main() -> None:
    settings = load_settings()
    assert settings.worker_metrics_port is not None
    database = Database(settings.database_url)
    publish(database, open_blob_store(settings.blob_url, settings.s3))
    vllm = StandInVllm(lambda path, prompt: spelled(" so"))
    vllm.start()
    deploy(database, vllm)
    database.close()
    redis = make_redis(settings, "stand-in")
    status = WorkerStatus(
        id="stand-in",
        model=MODEL,
        stage="ready",
        pid=os.getpid(),
        host=socket.gethostname(),
        device="cpu",
        updated_at=time.time(),
    )
    redis.set(worker_key(status.id), status.model_dump_json())
    start_http_server(settings.worker_metrics_port, addr="127.0.0.1", registry=metrics.REGISTRY)
    chance = random.Random(0)
    while True:
        count_work(chance)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
