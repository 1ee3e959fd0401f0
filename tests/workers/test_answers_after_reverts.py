"""What a revert takes out is answered as at the version that its edit was made on, whatever leaves later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from api_schemas.facts import Fact
from tests.workers.conftest import MODEL, SURE, Place
from tests.workers.test_revert import delta, distance, edit, facts, revert
from versions import lineage
from workers.kept import kept_edit


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
        kept = kept_edit(context, ancestry, row.id)
        for layer in settings["layers"]:
            found = kept.layers[layer].at(torch.eye(kept.layers[layer].keys.shape[0]).double())
            assert distance(found, delta(place, version, layer)) < 1e-6
