"""A server for clients from PyPI: the real application on a socket, and a worker's generation engine on a tiny
model."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from redis import Redis
from transformers import AutoModelForCausalLM, AutoTokenizer

from api_schemas.facts import Fact
from api_schemas.references import parse_reference
from cli.supervision.private_redis import prepare_private_redis
from cli.supervision.tethered import tethered
from configuration.settings import Settings
from editing.model.loading import LoadedModel, load_model
from store.blobs.opening import open_blob_store
from store.lineage import versions as lineage
from store.schema.database import Database, migrate
from store.work import batches
from tests.service.conftest import served
from tests.support.saved_models import fact, save_tiny_model
from tests.support.summed_deltas import sum_deltas
from workers.generation.engine import GenerationEngine
from workers.generation.running_batch import RunningBatch
from workers.process.main import bind_model
from workers.status import StatusBoard
from workers.weights.deltas import LayerDelta, pack_deltas, pack_matrices
from workers.weights.matrix_bits import matrix_hash
from workers.weights.matrix_cache import MatrixCache

MODEL = "smollm2-135m"
"""The default model's name, which the examples of the OpenAPI document are written for."""
EDITED = f"{MODEL}@v1"
LAYER = 2
CACHE_BYTES = 64 * 1024**2
# The conversation's text and nothing else, so that a chat goes on as a completion of the same text does.
CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}"


@dataclass(frozen=True)
class Serving:
    """A running server of `MODEL`, whose `v1` is an edited version. The folder `merged` has that version's weights."""

    url: str
    folder: Path
    merged: Path
    settings: Settings
    engine: GenerationEngine

    @property
    def api(self) -> str:
        """Where OpenAI's clients begin."""
        return f"{self.url}/v1"


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    place = tmp_path_factory.mktemp("serving")
    folder = save_tiny_model(place / "model")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    server = prepare_private_redis(place)
    process = subprocess.Popen(tethered(server.command), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        asyncio.run(server.answers())
        settings = Settings(data=place, redis_url=server.url, model=str(folder), model_name=MODEL, auth="off")
        migrate(settings.database_url)
        yield from _serve(settings, folder, place / "merged")
    finally:
        process.terminate()
        process.wait()


def _serve(settings: Settings, folder: Path, merged: Path) -> Iterator[Serving]:
    model = load_model(str(folder), cache=settings.data, name=MODEL)
    database = Database(settings.database_url)
    blobs = open_blob_store(settings.blob_url)
    assert settings.redis_url is not None
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    bind_model(database, blobs, settings, model)
    matrix = _publish(model, settings, database)
    _save_merged(folder, matrix, merged)
    matrices = MatrixCache(MODEL, model.decoder, model.fingerprint, database, blobs, CACHE_BYTES)
    batch = RunningBatch(model.decoder, model.backend_tokenizer, frozenset({model.tokenizer.eos_token_id}))
    engine = GenerationEngine(MODEL, "worker", redis, batch, matrices, kv_cache_bytes=512 * 1024**2, most_versions=16)
    status = StatusBoard(redis, "worker", MODEL, "cpu")
    status.start()
    engine.start()
    status.set("ready")
    try:
        with served(settings) as api:
            yield Serving(api.url, folder, merged, settings, engine)
    finally:
        engine.stop()
        engine.join()
        status.close()
        status.join()
        database.close()
        redis.close()


def _publish(model: LoadedModel, settings: Settings, database: Database) -> torch.Tensor:
    """Make `v1` with a random Δ of rank 1, and return its matrix."""
    projection = model.decoder.projections[LAYER]
    torch.manual_seed(1)
    a, b = torch.randn(1, projection.d_in), torch.randn(projection.d_out, 1)
    delta = LayerDelta(LAYER, a, b, dense=None)
    matrix = sum_deltas(projection, [delta])
    blobs = open_blob_store(settings.blob_url)
    new = lineage.NewVersion(
        layers=[LAYER],
        rank=1,
        blob=blobs.put(pack_deltas({LAYER: delta}, {"fingerprint": model.fingerprint, "provenance": {}})),
        matrix_blobs={str(LAYER): blobs.put(pack_matrices({LAYER: matrix}, {"dtype": str(model.dtype)}))},
        delta_bytes=0,
        matrix_bytes=matrix.nbytes,
        matrix_hashes={str(LAYER): matrix_hash(matrix)},
        provenance={},
        metrics={},
    )
    with database.writing() as session:
        wanted = batches.NewBatch(parse_reference(MODEL), "emmet", {}, {}, [Fact.model_validate(fact(0)).model_dump()])
        batch, _ = batches.accept(session, wanted, most_queued=1)
        batch.base_version = 0
        version = lineage.publish(session, batch, new)
        batches.set_state(session, batch, "succeeded", version=version.number)
    return matrix


def _save_merged(folder: Path, matrix: torch.Tensor, merged: Path) -> None:
    """The model with `v1`'s matrix in its weights, as any other program would have it."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[LAYER].mlp.down_proj.weight.copy_(matrix)
    model.save_pretrained(merged)
    AutoTokenizer.from_pretrained(folder).save_pretrained(merged)
