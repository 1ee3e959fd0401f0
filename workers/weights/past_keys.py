"""The keys of the facts that a version's lineage holds, for batches that are solved beside them.

They are read from the deltas' blobs once, and kept for the newest version asked for: a version's are its parent's,
less the columns that it took out, and its own. What a later batch corrects is not taken out here: a key like one of a
batch's own is left out when that batch is solved (`editing.covariance.protected`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from store.blobs.blob_store import BlobStore
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import VersionRow
from workers.weights.deltas import unpack_deltas, unpack_reverts

Columns = dict[int, Tensor]
"""By layer, keys (d_in, n), float32: one for each subject of an edit, or fewer where some were taken out."""


@dataclass
class _OfEdit:
    """An edit's columns by their numbers, and their keys."""

    numbers: list[int]
    keys: Columns


@dataclass
class PastKeys:
    """The past keys of one model's versions. Safe between threads; holds those of one version at a time."""

    model: str
    fingerprint: str
    database: Database
    blobs: BlobStore
    _version: int = field(default=0, init=False)
    _edits: dict[str, _OfEdit] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def at(self, version: int, layers: Sequence[int]) -> Columns:
        """The keys (d_in, p), float32, of the facts that were edited up to `version` and not taken out, for those of
        `layers` that have any. Raises BlobError where a blob of the lineage is gone or damaged."""
        with self._lock:
            with self.database.reading() as session:
                rows = lineage.ancestry(session, self.model, version)
            self._follow(rows)
            of_layers = {
                layer: [edit.keys[layer] for edit in self._edits.values() if layer in edit.keys and edit.numbers]
                for layer in layers
            }
            return {layer: torch.cat(keys, 1) for layer, keys in of_layers.items() if keys}

    def _follow(self, rows: Sequence[VersionRow]) -> None:
        """Go on from the version that is held where it is an ancestor, else begin anew."""
        numbers = [row.number for row in rows]
        if self._version in numbers:
            rows = rows[numbers.index(self._version) + 1 :]
        else:
            self._edits, self._version = {}, 0
        for row in rows:
            self._add(row)
            self._version = row.number

    def _add(self, row: VersionRow) -> None:
        if row.blob is None or row.batch_id is None:
            return
        content = self.blobs.get(row.blob)
        if row.provenance.get("reverts"):
            self._take_out(content)
            return
        keys = {
            layer: delta.keys
            for layer, delta in unpack_deltas(content, self.fingerprint).items()
            if delta.keys is not None
        }
        if keys:
            columns = next(iter(keys.values())).shape[1]
            self._edits[row.batch_id] = _OfEdit(list(range(columns)), keys)

    def _take_out(self, content: bytes) -> None:
        reverts, inserted = unpack_reverts(content, self.fingerprint)
        for number, entry in enumerate(reverts):
            edit = self._edits.get(entry["edit"])
            if edit is None:
                continue
            leaving = set(entry["out"])
            stay = torch.tensor([place for place, column in enumerate(edit.numbers) if column not in leaving]).long()
            edit.numbers = [column for column in edit.numbers if column not in leaving] + list(entry["in"])
            for layer, keys in edit.keys.items():
                put = inserted.get(layer, {}).get(number)
                back = [] if put is None or put.keys is None else [put.keys]
                edit.keys[layer] = torch.cat([keys[:, stay], *back], 1)
