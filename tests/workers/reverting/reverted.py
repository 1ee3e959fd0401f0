"""What a revert's version should be, by the formulas alone: for the lineage of one edit, of layer 1, on the base."""

from __future__ import annotations

import torch
from torch import Tensor

from editing.values.answer_keys import keys_at
from store.lineage import versions as lineage
from store.lineage.facts_in_force import lineage_facts
from store.schema.tables import VersionRow
from tests.workers.conftest import MODEL, Place
from workers.reverting.affected_edits import affected_edits
from workers.reverting.constrained_tokens import constrained_tokens, facts_of_leaving_subjects
from workers.reverting.remaining_edit import remaining_edit
from workers.weights.deltas import InsertedKeys, unpack_reverts

LAYER = 1


def least_without(place: Place, *reverts: int, edit: int = 1, C: Tensor | None = None) -> Tensor:
    """Δ (d_out, d_in) of the edit that made version `edit` after the versions `reverts`, one upon the other: each takes
    back what was written at the keys that leave, and with it nothing at those that stay and where the edit is held, and
    leaves nothing at the pinned ones; the least that does, by inverting what the formula inverts."""
    own = [*place.worker().matrices.deltas(edit)][-1][LAYER]
    assert own.keys is not None
    delta, keys, pins = own.delta(), own.keys.double(), own.keys[:, :0].double()
    columns = list(range(keys.shape[1]))
    S = torch.linalg.inv(place.loaded.statistics.get((LAYER,))[LAYER].C if C is None else C)
    for number in reverts:
        version = place.version(number)
        out = [columns.index(column) for column in version.provenance["reverts"][0]["out"]]
        pins = torch.cat([pins, pinned_keys(place, number)], 1)
        asked = torch.cat([keys, held_keys(place, version)], 1)
        wanted = torch.zeros(delta.shape[0], asked.shape[1]).double()
        wanted[:, out] = -delta @ keys[:, out]
        K, outputs = torch.cat([asked, pins], 1), torch.cat([wanted, -delta @ pins], 1)
        assert version.metrics is not None
        used = version.metrics["layers"][0]["mu_used"]
        mu = torch.tensor([used] * asked.shape[1] + [1e-9 * (1 + used)] * pins.shape[1]).double()
        delta = delta + outputs @ torch.linalg.inv(K.T @ S @ K + torch.diag(mu)) @ K.T @ S
        stay = [n for n in range(len(columns)) if n not in out]
        keys, columns = keys[:, stay], [columns[n] for n in stay]
    return delta


def put_in(place: Place, number: int) -> InsertedKeys:
    """What the revert that made version `number` put into the only edit that it changed."""
    blob = place.version(number).blob
    assert blob is not None
    return (
        unpack_reverts(place.blobs.get(blob), place.loaded.model.fingerprint)[1].get(LAYER, {}).get(0, InsertedKeys())
    )


def pinned_keys(place: Place, number: int) -> Tensor:
    """The keys at which it pinned that edit."""
    pins = put_in(place, number).pins
    return (
        torch.zeros(place.loaded.model.decoder.projections[LAYER].d_in, 0).double() if pins is None else pins.double()
    )


def held_keys(place: Place, version: VersionRow) -> Tensor:
    """The keys at which the revert that made `version` held the only edit that it changed: nothing below layer 1 is
    edited, so that they are the base's."""
    batch = place.batch(version.batch_id or "")
    assert version.parent is not None
    with place.database.reading() as session:
        here = lineage_facts(session, MODEL, version.parent)
        ancestry = lineage.ancestry(session, MODEL, version.parent)
    leaving = {(entry["edit"], index) for entry in batch.reverts or () for index in entry["facts"]}
    affected = affected_edits(here, leaving, {})
    told = [one for one in here if (one.place.edit, one.place.index) in leaving]
    kept = {edit: remaining_edit(place.worker(), ancestry, edit) for edit in affected}
    tokenizer = place.loaded.model.backend_tokenizer
    (texts,) = constrained_tokens(
        tokenizer, here, facts_of_leaving_subjects(here, told, affected), affected, kept
    ).values()
    return keys_at(place.loaded.model.decoder, {}, texts.held, LAYER).double()
