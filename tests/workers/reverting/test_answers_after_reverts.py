"""What a revert takes out is answered as at the version that its edit was made on, whatever leaves later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from api_schemas.facts import Fact
from store.lineage import versions as lineage
from tests.workers.conftest import MODEL, SURE, Place
from tests.workers.reverting.test_revert import delta, distance, edit, facts, revert
from workers.reverting.remaining_edit import remaining_edit


def readings(place: Place, number: int, of: Sequence[dict[str, Any]]) -> list[float]:
    """log P(new) and log P(old) of each fact in version `number`."""
    context = place.worker()
    asked = [Fact.model_validate(one) for one in of]
    found = context.measuring.evaluate(context.matrices.get(number), asked, ("EM", "ES")).observations.facts
    return [
        answer.log_probability
        for one in found
        if one.prompt is not None
        for answer in (one.prompt.new, one.prompt.old)
        if answer is not None
    ]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("settings", [{"layers": [1]}, {"layers": [1], "mu": 30}, {"layers": [1, 2], "mu": 3}])
def test_what_is_taken_out_is_answered_as_at_the_parent(
    family: str, settings: dict[str, Any], place_of: Callable[..., Place]
) -> None:
    """The parent is not the base, and others of its edit are taken out later: the answers are the parent's still."""
    place = place_of(family)
    edit(place, facts(place, 2))
    edit(place, second := facts(place, 7, first=2), settings={**SURE, **settings})
    revert(place, 1, 4, of=2)
    revert(place, 0, of=2)
    gone, later = [second[1], second[4]], [second[0]]
    assert readings(place, 2, gone) != pytest.approx(readings(place, 1, gone), abs=0.1)
    for version in (3, 4):
        assert readings(place, version, gone) == pytest.approx(readings(place, 1, gone), abs=1e-4)
    assert readings(place, 4, later) == pytest.approx(readings(place, 1, later), abs=1e-4)
    assert readings(place, 4, later) != pytest.approx(readings(place, 3, later), abs=0.1)


@pytest.mark.parametrize("settings", [{"layers": [1], "mu": 3}, {"layers": [1, 2], "mu": 3, "repair_rounds": 2}])
def test_what_is_kept_with_reverts_is_what_the_edit_is_by_then(place: Place, settings: dict[str, Any]) -> None:
    row = edit(place, facts(place, 7), settings={**SURE, **settings})
    revert(place, 1, 4, of=1)
    revert(place, 5, of=1)
    context = place.worker()
    for version in (2, 3):
        with place.database.reading() as session:
            ancestry = lineage.ancestry(session, MODEL, version)
        kept = remaining_edit(context, ancestry, row.id)
        for layer in settings["layers"]:
            found = kept.layers[layer].at(torch.eye(kept.layers[layer].keys.shape[0]).double())
            assert distance(found, delta(place, version, layer)) < 1e-6


@pytest.mark.parametrize("whole", [False, True])
def test_each_edit_knows_its_part_of_a_revert_of_several(place: Place, whole: bool) -> None:
    """Facts leave two edits at once, or one of them as a whole, and others leave later."""
    first = edit(place, facts(place, 6), settings={**SURE, "mu": 3})
    second = edit(place, facts(place, 5, first=6), settings={**SURE, "mu": 3})
    revert(place, 1, 4, of=1, edits=[second.id] if whole else [])
    if not whole:
        revert(place, 2, of=2)
    last = place.latest()
    revert(place, 0, of=1)
    context = place.worker()
    for version in (last, place.latest()):
        with place.database.reading() as session:
            ancestry = lineage.ancestry(session, MODEL, version)
        parts = [remaining_edit(context, ancestry, one.id).layers[1] for one in (first, second)]
        d_in = parts[0].keys.shape[0]
        own = [part.at(torch.eye(d_in).double()) for part in parts]
        assert distance(own[0] + own[1], delta(place, version)) < 1e-6
        if whole:
            assert float(own[1].norm()) < 1e-6 * float(own[0].norm())
        for part, of_edit in zip(parts, own, strict=True):
            if part.pins is not None:
                assert float((of_edit @ part.pins).norm()) < 1e-5 * float(of_edit.norm() * part.pins.norm())
