"""An edit as later reverts have left it at a version: its remaining columns, with their keys and changes by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from api_schemas.facts import subject_key
from editing.methods import ALGORITHMS, Algorithm, EditSettings
from editing.solve.reverting import Change, RemainingLayer
from editing.subjects import ChatForm
from store.errors import BlobCorruptError
from store.lineage.facts_in_force import LineageFact
from store.schema.tables import VersionRow
from workers.context import WorkerContext
from workers.tasks.plan import stored_forms
from workers.weights.deltas import InsertedKeys, LayerDelta, unpack_deltas, unpack_reverts


@dataclass(frozen=True)
class RemainingEdit:
    """An edit's columns, by the number that each subject has in the order of the batch, and its layers."""

    version: VersionRow
    columns: tuple[int, ...]
    layers: dict[int, RemainingLayer]

    @property
    def algorithm(self) -> Algorithm:
        return ALGORITHMS[self.version.provenance["algorithm"]]

    @property
    def settings(self) -> EditSettings:
        return EditSettings.model_validate(self.version.provenance["settings"])

    @property
    def contexts(self) -> list[str]:
        texts: list[str] = self.version.provenance["contexts"]
        return texts

    @property
    def chat_forms(self) -> tuple[ChatForm, ...]:
        return stored_forms(self.version.provenance)

    def positions(self, columns: Sequence[int]) -> list[int]:
        """Where `columns` stand among those that are left."""
        return [self.columns.index(column) for column in columns]


def column_of_subject(facts: Sequence[LineageFact]) -> dict[str, int]:
    """The column of each subject in an edit with these facts: subjects are numbered as they first appear."""
    numbers: dict[str, int] = {}
    for fact in facts:
        numbers.setdefault(subject_key(fact.fact["subject"]), len(numbers))
    return numbers


def remaining_edit(context: WorkerContext, ancestry: Sequence[VersionRow], edit: str) -> RemainingEdit:
    """The batch `edit` as the lineage `ancestry` has it at its end. Raises BlobError where a blob is damaged."""
    (own_version,) = (version for version in ancestry if version.batch_id == edit)
    assert own_version.blob is not None
    deltas = unpack_deltas(context.blobs.get(own_version.blob), context.model.fingerprint)
    device = context.model.decoder.device
    layers = {
        layer: RemainingLayer(_wide(_keys(delta, own_version), device), (_change(delta, device),))
        for layer, delta in deltas.items()
    }
    columns = next(iter(layers.values())).keys.shape[1]
    remaining = RemainingEdit(own_version, tuple(range(columns)), layers)
    for version in ancestry:
        if version.blob is not None and any(entry["edit"] == edit for entry in version.provenance.get("reverts", ())):
            remaining = _after_revert(context, version, remaining, edit)
    return remaining


def _after_revert(context: WorkerContext, version: VersionRow, remaining: RemainingEdit, edit: str) -> RemainingEdit:
    """`remaining` after the revert that made `version`."""
    assert version.blob is not None
    content = context.blobs.get(version.blob)
    deltas = unpack_deltas(content, context.model.fingerprint)
    reverts, put_in = unpack_reverts(content, context.model.fingerprint)
    number, entry = next((n, revert) for n, revert in enumerate(reverts) if revert["edit"] == edit)
    left = [column for column in remaining.columns if column not in set(entry["out"])]
    positions = torch.tensor(remaining.positions(left), dtype=torch.long)
    layers = {}
    for layer, layer_before in remaining.layers.items():
        device = layer_before.keys.device
        inserted = put_in.get(layer, {}).get(number, InsertedKeys())
        keys, pins = layer_before.keys[:, positions.to(device)], layer_before.pins
        if inserted.keys is not None:
            keys = torch.cat([keys, _wide(inserted.keys, device)], 1)
        if inserted.pins is not None:
            added = _wide(inserted.pins, device)
            pins = added if pins is None else torch.cat([pins, added], 1)
        layers[layer] = RemainingLayer(
            keys, (*layer_before.changes, _share(deltas[layer], reverts, number, device)), pins
        )
    return replace(remaining, columns=(*left, *entry["in"]), layers=layers)


def _share(delta: LayerDelta, reverts: Sequence[Mapping[str, Any]], number: int, device: torch.device) -> Change:
    """The part of a revert's `delta` that is the change of its edit `number`: of one edit alone it may be dense."""
    ranks = [int(entry["ranks"].get(str(delta.layer), 0)) for entry in reverts]
    whole = _change(delta, device)
    if delta.dense is not None:
        return whole
    first, rank = sum(ranks[:number]), ranks[number]
    return Change(whole.A[first : first + rank], whole.B[:, first : first + rank])


def _change(delta: LayerDelta, device: torch.device) -> Change:
    if delta.dense is not None:
        return Change(_wide(delta.dense, device), torch.eye(delta.dense.shape[0], dtype=torch.float64, device=device))
    assert delta.a is not None
    assert delta.b is not None
    return Change(_wide(delta.a, device), _wide(delta.b, device))


def _keys(delta: LayerDelta, version: VersionRow) -> Tensor:
    if delta.keys is None:
        raise BlobCorruptError(f"the blob of version v{version.number} keeps no keys, so that nothing can be taken out")
    return delta.keys


def _wide(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device=device, dtype=torch.float64)
