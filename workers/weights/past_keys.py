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
from store.blobs.deltas import unpack_delta
from store.lineage import versions as lineage
from store.schema.database import Database
from workers.weights.deltas import unpack_reverts

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
            self._follow(version)
            of_layers = {
                layer: [edit.keys[layer] for edit in self._edits.values() if layer in edit.keys and edit.numbers]
                for layer in layers
            }
            return {layer: torch.cat(keys, 1) for layer, keys in of_layers.items() if keys}

    def _follow(self, version: int) -> None:
        """Go on from the version that is held where it is an ancestor, else begin anew."""
        with self.database.reading() as session:
            steps = lineage.steps_above(session, self.model, version, {self._version} if self._version else ())
            edits = lineage.edits_of(session, self.model, [step.number for step in steps])
        if (steps and steps[0].parent != self._version) or (not steps and version != self._version):
            self._edits, self._version = {}, 0
        for step in steps:
            edit = edits.get(step.number)
            if step.blob is not None and edit is not None:
                self._add(edit, self.blobs.get(step.blob))
            self._version = step.number

    def _add(self, edit: str, content: bytes) -> None:
        layers, header = unpack_delta(content, self.fingerprint)
        if header.get("reverts"):
            self._take_out(content)
            return
        keys = {layer: torch.from_numpy(arrays.keys) for layer, arrays in layers.items() if arrays.keys is not None}
        if keys:
            columns = next(iter(keys.values())).shape[1]
            self._edits[edit] = _OfEdit(list(range(columns)), keys)

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
