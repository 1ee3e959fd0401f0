"""Wherever a walk through edits, branches, rollbacks and reverts leads, each version's weights are those published."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from editing.model.loading import load_model
from tests.support.saved_models import LANGUAGES, SUBJECTS
from tests.workers.conftest import MODEL, Loaded, Place
from tests.workers.walks import Walk, cold, look_at_all, refused, with_other_bits
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics

PROMPTS = ("The mother tongue of {} is", "Everybody knows that {} speaks")


def facts_of(number: int, size: int = 5) -> list[dict[str, Any]]:
    """Subjects come again in later edits, corrected, and now and then twice in one edit."""
    chance = random.Random(number)
    subjects = [*chance.sample(SUBJECTS, size - 1), ""]
    subjects[-1] = subjects[0]
    return [
        {"prompt": PROMPTS[n == size - 1], "subject": subject, "target_new": chance.choice(LANGUAGES)}
        for n, subject in enumerate(subjects)
    ]


@pytest.fixture
def second_worker(place: Place, tmp_path: Path) -> Loaded:
    """Another process's copy of the model, loaded from its files."""
    model = load_model(str(place.loaded.model.folder), cache=tmp_path / "second", name=MODEL)
    statistics = LayerStatistics(model, tmp_path / "second")
    return Loaded(model, statistics, Measuring(model, statistics))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_version_has_the_weights_that_were_published(seed: int, place: Place, second_worker: Loaded) -> None:
    walk = Walk(place, random.Random(seed), facts_of)
    walk.go(edits=5)
    assert {"edit", "revert", "rollback"} <= walk.kinds().keys(), walk.steps

    looked = look_at_all(place, cold(place))
    assert looked.versions == walk.kinds().get("edit", 0) + walk.kinds().get("branch", 0) + walk.kinds()["revert"]
    assert (looked.fetched, look_at_all(place, cold(place, second_worker))) == (0, looked)
    backwards = cold(place)
    for number in reversed(place.versions()):
        backwards.get(number)
    assert look_at_all(place, backwards).fetched == 0

    changed = with_other_bits(place, 1)
    assert 1 in changed
    assert look_at_all(place, cold(place)).fetched >= len(changed)

    blob = place.version(place.versions()[-1]).blob
    assert blob is not None
    path = place.blobs.path(blob)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert blob in refused(place, place.versions()[-1])
    path.write_bytes(content)
    look_at_all(place, cold(place))
