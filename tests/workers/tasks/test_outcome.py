"""What a worker tells of the batches that it ends."""

from __future__ import annotations

import pytest

from store.work import batches
from tests.support.saved_models import facts
from tests.workers.conftest import Place
from workers.metrics import REGISTRY
from workers.tasks.outcome import end_batch


def counted(place: Place, batch_id: str) -> float:
    labels = {"model": place.batch(batch_id).model, "algorithm": "emmet"}
    return REGISTRY.get_sample_value("emmetd_edit_batch_duration_seconds_count", labels) or 0


def test_a_batch_is_observed_once_its_end_is_committed(place: Place) -> None:
    batch_id = place.accept(facts(1))
    before = counted(place, batch_id)

    def failing() -> None:
        with place.database.writing() as session:
            end_batch(session, batches.get(session, batch_id), "succeeded")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        failing()
    assert counted(place, batch_id) == before

    with place.database.writing() as session:
        end_batch(session, batches.get(session, batch_id), "succeeded")
        assert counted(place, batch_id) == before
    assert counted(place, batch_id) == before + 1
