"""What is left of an edit at a version: keys and residuals that it was solved from, less what was taken out since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from api_schemas.algorithms import EditSettings
from api_schemas.facts import subject_key
from editing.reverting import KeptLayer
from versions.errors import BlobCorruptError
from versions.lineage_facts import LineageFact
from versions.tables import VersionRow
from workers.context import WorkerContext
from workers.deltas import LayerDelta, PutIn, unpack_deltas, unpack_reverts


@dataclass(frozen=True)
class KeptEdit:
    """An edit's columns, by the number that each subject has in the order of the batch, and its layers.

    `published` is the edit's Δ as it lies in its blob, by layer, while no revert has changed the edit; else None.
    """

    version: VersionRow
    columns: tuple[int, ...]
    layers: dict[int, KeptLayer]
    published: dict[int, LayerDelta] | None

    @property
    def settings(self) -> EditSettings:
        return EditSettings.model_validate(self.version.provenance["settings"])

    @property
    def contexts(self) -> list[str]:
        texts: list[str] = self.version.provenance["contexts"]
        return texts

    def condition_number(self, layer: int) -> float:
        """Of the edit's keys as they were solved; fewer of them are no worse conditioned."""
        reports: list[dict[str, Any]] = (self.version.metrics or {})["layers"]
        return next(float(report["condition_number"]) for report in reports if report["layer"] == layer)

    def positions(self, columns: Sequence[int]) -> list[int]:
        """Where `columns` stand among those that are left."""
        return [self.columns.index(column) for column in columns]


def column_of_subject(facts: Sequence[LineageFact]) -> dict[str, int]:
    """The column of each subject in an edit with these facts: subjects are numbered as they first appear."""
    numbers: dict[str, int] = {}
    for one in facts:
        numbers.setdefault(subject_key(one.fact["subject"]), len(numbers))
    return numbers


def kept_edit(context: WorkerContext, ancestry: Sequence[VersionRow], edit: str) -> KeptEdit:
    """The batch `edit` as the lineage `ancestry` has it at its end. Raises BlobError where a blob is damaged."""
    (own,) = (version for version in ancestry if version.batch_id == edit)
    assert own.blob is not None
    deltas = unpack_deltas(context.blobs.get(own.blob), context.model.fingerprint)
    device = context.model.decoder.device
    reports: list[dict[str, Any]] = (own.metrics or {})["layers"]
    used = {report["layer"]: float(report["mu_used"]) for report in reports}
    layers = {
        layer: KeptLayer(_wide(delta.keys, own, device), _wide(delta.values, own, device), used[layer])
        for layer, delta in deltas.items()
    }
    columns = next(iter(layers.values())).keys.shape[1]
    kept = KeptEdit(own, tuple(range(columns)), layers, deltas)
    for version in ancestry:
        if version.blob is not None and any(entry["edit"] == edit for entry in version.provenance.get("reverts", ())):
            kept = _changed_by(context, version, kept, edit)
    return kept


def _changed_by(context: WorkerContext, version: VersionRow, kept: KeptEdit, edit: str) -> KeptEdit:
    """`kept` after the revert that made `version`."""
    assert version.blob is not None
    reverts, put_in = unpack_reverts(context.blobs.get(version.blob), context.model.fingerprint)
    number, entry = next((n, one) for n, one in enumerate(reverts) if one["edit"] == edit)
    left = [column for column in kept.columns if column not in set(entry["out"])]
    positions = torch.tensor(kept.positions(left), dtype=torch.long)
    layers = {}
    for layer, one in kept.layers.items():
        index = positions.to(one.keys.device)
        keys, residual, pins = one.keys[:, index], one.residual[:, index], one.pins
        put = put_in.get(layer, {}).get(number, PutIn())
        if put.columns is not None:
            new_keys, new_residual = (part.to(keys) for part in put.columns)
            keys, residual = torch.cat([keys, new_keys], 1), torch.cat([residual, new_residual], 1)
        if put.pins is not None:
            pins = put.pins.to(keys) if pins is None else torch.cat([pins, put.pins.to(keys)], 1)
        layers[layer] = KeptLayer(keys, residual, entry.get("mu", {}).get(str(layer), one.mu), pins)
    return replace(kept, columns=(*left, *entry["in"]), layers=layers, published=None)


def _wide(tensor: Tensor | None, version: VersionRow, device: torch.device) -> Tensor:
    if tensor is None:
        raise BlobCorruptError(f"the blob of version v{version.number} keeps no keys, so that nothing can be taken out")
    return tensor.to(device=device, dtype=torch.float64)
