"""Shares C0 between workers of the same weights: a statistic made on request is a blob, found through SQL."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from editing.covariance.serialization import pack, packed_bytes, unpack
from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import StatisticSpec, statistic_key
from editing.errors import FingerprintMismatchError, StatisticError
from editing.model.loading import LoadedModel
from store.blobs.blob_store import BlobStore
from store.errors import BlobCorruptError, BlobMissingError
from store.schema.database import Database
from store.work import statistics

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SharedStatistics:
    """`most_bytes` bounds what is handed in for one layer; what others handed in is taken whatever its size."""

    database: Database
    blobs: BlobStore
    model: LoadedModel
    most_bytes: int

    def share(self, made: dict[int, Statistic], spec: StatisticSpec) -> dict[str, str]:
        """Put C0 of the layers into the blob store, each unless it is too large: by key, the blobs' names."""
        return {
            statistic_key(self.model, layer, spec): self.blobs.put(pack(statistic))
            for layer, statistic in made.items()
            if packed_bytes(statistic) <= self.most_bytes
        }

    def find(self, layer: int, spec: StatisticSpec) -> Statistic | None:
        """What another worker made; None where there is none, or where its blob is gone or damaged."""
        with self.database.reading() as session:
            blob = statistics.shared_blob(session, statistic_key(self.model, layer, spec))
        if blob is None:
            return None
        try:
            statistic = unpack(self.blobs.get(blob), self.model.decoder.device)
            statistic.require(self.model.fingerprint, layer)
        except (BlobMissingError, BlobCorruptError, StatisticError, FingerprintMismatchError) as error:
            log.warning("a shared statistic cannot be used; it is made again", layer=layer, error=str(error))
            return None
        log.info("statistic fetched", layer=layer, tokens=statistic.tokens, corpus=statistic.corpus)
        return statistic
