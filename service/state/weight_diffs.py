"""Norms of what lies between two versions: computed once, since versions never change, one pair at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from service.errors import DiffTooLargeError
from store.blobs.blob_store import BlobStore
from store.blobs.deltas import LayerArrays, unpack_delta
from store.lineage.layer_diff import LayerDistances, layer_diffs
from store.schema.tables import VersionRow

MOST_BYTES: Final = 1 << 30
"""Of the deltas that a diff reads. They are held together, in double precision."""
_MOST_REMEMBERED: Final = 1000


class WeightDiffs:
    """Layer diffs of pairs of versions. One is computed at a time; `BoundedWork` sees to it that few wait here."""

    def __init__(self, blobs: BlobStore, most_bytes: int = MOST_BYTES) -> None:
        self._blobs = blobs
        self._most_bytes = most_bytes
        self._known: OrderedDict[tuple[str, int, int], list[LayerDistances]] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, key: tuple[str, int, int], before: Sequence[VersionRow], after: Sequence[VersionRow], fingerprint: str
    ) -> list[LayerDistances]:
        """For the lineages of both versions of `key`, (model, number, number).

        Raises DiffTooLargeError, or BlobError where a delta is missing or damaged.
        """
        with self._lock:
            found = self._known.get(key)
            if found is None:
                self._check_size({row.number: row for row in (*before, *after)})
                found = layer_diffs(before, after, lambda row: self._load(row, fingerprint))
                self._known[key] = found
                if len(self._known) > _MOST_REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return found

    def _check_size(self, rows: Mapping[int, VersionRow]) -> None:
        total = sum(self._blobs.size(row.blob) for row in rows.values() if row.blob is not None)
        if total > self._most_bytes:
            raise DiffTooLargeError(
                f"the deltas of the {len(rows)} versions between the base and these two have {total} bytes, at most "
                f"{self._most_bytes} are compared; leave the weights out with weights=false, or export both as merged "
                "matrices and compare those"
            )

    def _load(self, row: VersionRow, fingerprint: str) -> dict[int, LayerArrays]:
        if row.blob is None:
            return {}
        layers, _ = unpack_delta(self._blobs.get(row.blob), fingerprint)
        return layers
