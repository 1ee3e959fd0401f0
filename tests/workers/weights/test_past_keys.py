"""What is edited next leaves earlier facts alone: their keys are read from the lineage, and the solve knows them."""

from __future__ import annotations

import torch
from torch import Tensor

from store.blobs.folder import FolderBlobStore
from tests.support.saved_models import facts
from tests.workers.conftest import LAYERS, MODEL, SURE, Place
from tests.workers.reverting.test_revert import ANY, revert
from workers.weights.deltas import unpack_deltas
from workers.weights.past_keys import PastKeys

(LAYER,) = LAYERS


class CountingBlobs(FolderBlobStore):
    """Counts what is read."""

    reads = 0

    def get(self, sha256: str) -> bytes:
        self.reads += 1
        return super().get(sha256)


def stored_keys(place: Place, version: int) -> Tensor:
    row = place.version(version)
    assert row.blob is not None
    keys = unpack_deltas(place.blobs.get(row.blob), place.loaded.model.fingerprint)[LAYER].keys
    assert keys is not None
    return keys


def delta(place: Place, version: int) -> Tensor:
    row = place.version(version)
    assert row.blob is not None
    return unpack_deltas(place.blobs.get(row.blob), place.loaded.model.fingerprint)[LAYER].delta()


def line(place: Place, batches: int, **settings: object) -> list[int]:
    made = [
        place.edit(facts(2, 2 * number), settings={**SURE, "layers": [LAYER], **settings}, thresholds=ANY).version
        for number in range(batches)
    ]
    return [version for version in made if version is not None]


def test_past_keys_are_those_of_the_lineage_less_what_was_taken_out(place: Place) -> None:
    first, second, third = line(place, 3)
    past = PastKeys(MODEL, place.loaded.model.fingerprint, place.database, place.blobs)
    expected = [stored_keys(place, version) for version in (first, second, third)]
    torch.testing.assert_close(past.at(third, LAYERS)[LAYER], torch.cat(expected, 1), rtol=0, atol=0)
    torch.testing.assert_close(past.at(first, LAYERS)[LAYER], expected[0], rtol=0, atol=0)
    assert past.at(0, LAYERS) == {}
    assert past.at(third, (LAYER + 1,)) == {}
    taken = revert(place, 0, of=second)
    assert taken.version is not None, taken.error
    left = torch.cat([expected[0], expected[1][:, 1:], expected[2]], 1)
    torch.testing.assert_close(past.at(taken.version, LAYERS)[LAYER], left, rtol=0, atol=0)


def test_a_version_after_the_one_that_is_held_costs_its_own_blob_alone(place: Place) -> None:
    line(place, 3)
    blobs = CountingBlobs(place.blobs.folder)
    past = PastKeys(MODEL, place.loaded.model.fingerprint, place.database, blobs)
    past.at(2, LAYERS)
    assert blobs.reads == 2
    past.at(3, LAYERS)
    past.at(3, LAYERS)
    assert blobs.reads == 3


def test_pinned_facts_are_not_moved_and_weighted_ones_less_than_others(place: Place) -> None:
    moved = {}
    choices: dict[str, dict[str, object]] = {
        "none": {"protect": "none"},
        "weighted": {"protect": "weighted", "protect_weight": 100.0},
        "pinned": {"protect": "pinned"},
    }
    for name, settings in choices.items():
        base = place.edit(facts(4), settings={**SURE, "layers": [LAYER]}, thresholds=ANY, reference=f"{MODEL}@v0")
        assert base.version is not None, base.error
        on = f"{MODEL}@v{base.version}"
        later = place.edit(facts(4, 4), settings={**SURE, "layers": [LAYER], **settings}, thresholds=ANY, reference=on)
        assert later.version is not None, later.error
        change = delta(place, later.version)
        keys, own = (stored_keys(place, version).double() for version in (base.version, later.version))
        moved[name] = float((change @ keys).norm() / (change @ own).norm())
    assert moved["pinned"] < 1e-5
    assert moved["weighted"] < 0.2 * moved["none"]


def test_a_pinned_fact_can_still_be_corrected(place: Place) -> None:
    of = facts(3)
    place.edit(of, settings={**SURE, "layers": [LAYER]}, thresholds=ANY)
    other = {**of[1], "target_new": "Spanish" if of[1]["target_new"] != "Spanish" else "German"}
    again = place.edit([other], settings={**SURE, "layers": [LAYER], "protect": "pinned"}, thresholds=ANY)
    assert again.metrics is not None, again.error
    assert again.metrics["after"]["EM"]["value"] == 1.0
