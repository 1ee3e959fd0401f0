"""Versions whose deltas are large, of a model that nobody has loaded: what it takes to compare them is real."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from api_schemas.references import ModelReference
from store.blobs.blob_store import BlobStore
from store.blobs.deltas import LayerArrays, pack_delta
from store.blobs.opening import open_blob_store
from store.lineage import models
from store.lineage import versions as lineage
from store.lineage.models import ModelIdentity
from store.lineage.versions import NewVersion
from store.schema.database import Database
from store.work import batches
from tests.support.tiny_models import tiny_tokenizer

LARGE: Final = "large"
_LAYER: Final = 1
_FINGERPRINT: Final = "f" * 64


def make_large_versions(database: Database, blobs: Path, number: int, dimension: int, rank: int) -> None:
    """Register LARGE with `number` versions in line, each a change of one square matrix by factors of `rank`."""
    store = open_blob_store(str(blobs))
    identity = ModelIdentity(
        fingerprint=_FINGERPRINT,
        tokenizer_fingerprint="e" * 64,
        dtype="float32",
        model_type="llama",
        n_layers=_LAYER + 1,
        d_in=dimension,
        d_out=dimension,
        context_length=dimension,
        tokenizer_blob=store.put(tiny_tokenizer().to_str().encode()),
        chat_template=None,
    )
    with database.writing() as session:
        models.register(session, LARGE, "a folder")
        models.bind(session, LARGE, identity)
    random = np.random.default_rng(0)
    for one in range(number):
        _publish(database, store, random, one, dimension, rank)


def _publish(
    database: Database, blobs: BlobStore, random: np.random.Generator, number: int, dimension: int, rank: int
) -> None:
    a = random.standard_normal((rank, dimension), dtype=np.float32)
    b = random.standard_normal((dimension, rank), dtype=np.float32)
    packed = pack_delta({_LAYER: LayerArrays(a=a, b=b)}, {"fingerprint": _FINGERPRINT})
    blob = blobs.put(packed)
    fact = {"prompt": "{} is", "subject": f"thing {number}", "target_new": "large"}
    new = batches.NewBatch(ModelReference(LARGE, alias="latest"), "emmet", {}, {}, [fact])
    hashes = {str(_LAYER): f"{number:064x}"}
    with database.writing() as session:
        row = batches.accept(session, new, most_queued=number + 1)[0]
        row.base_version = lineage.resolve(session, new.reference).number
        version = NewVersion([_LAYER], rank, blob, hashes, len(packed), 0, {}, {"base_norms": {str(_LAYER): 10.0}}, {})
        batches.set_state(session, row, "succeeded")
        lineage.publish(session, row, version)
