"""Batches that fail at some of their facts name these by their places in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.values.facts import SubjectGroup
from editing.values.finite import require_finite
from editing.values.optimisation import optimise_values
from editing.values.value_set import Values
from tests.support.saved_models import SUBJECTS, fact, facts
from tests.workers.conftest import Place

IN_SHARDS = {"steps": 5, "repair_rounds": 0, "contexts": 16}
"""With a worker that takes itself to be slow, these make several shards of a batch."""


def test_a_strict_batch_that_cannot_be_met_names_the_facts_whose_keys_are_alike(place: Place) -> None:
    """Two subjects that end in the same token after the same text have one key."""
    first, last = SUBJECTS[1].split()
    whole, part = fact(1), {**fact(1), "prompt": f"The mother tongue of {first} {{}} is", "subject": last}
    told = [{**fact(2), "prompt": "Everybody knows that {} speaks"}, fact(0), fact(2), part, whole]
    batch = place.edit(told, settings={"mu": 0, "strict": True, "steps": 1})
    assert batch.state == "failed"
    assert batch.error is not None
    assert (batch.error["code"], batch.error["facts"]) == ("singular_solve", [3, 4])
    assert "those of facts 3 and of facts 4 are the most alike" in batch.error["detail"]


def test_a_shard_names_a_fact_without_a_value_by_its_place_in_the_batch(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(
        decoder: Decoder, matrices: Matrices, groups: list[SubjectGroup], *more: Any, **named: Any
    ) -> Values:
        for group in groups:
            if group.subject == SUBJECTS[17]:
                require_finite([group], torch.float16, torch.full((1, 1), torch.nan))
        return optimise_values(decoder, matrices, groups, *more, **named)

    place.worker(tokens_per_second=1.0)
    batch_id = place.accept(facts(24), settings=IN_SHARDS)
    monkeypatch.setattr("workers.tasks.values.optimise_values", overflowing)
    place.run()
    error = place.batch(batch_id).error
    assert error is not None
    assert (error["code"], error["facts"]) == ("values_not_finite", [17])
