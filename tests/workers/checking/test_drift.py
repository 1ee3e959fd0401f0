"""Drift of a check: read in portions, against base and parent, and of what was read nothing again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from editing.model.projection import Matrices
from editing.progress import never
from editing.readings import held_out_text
from editing.readings.held_out_text import HeldOutText
from store.blobs.deltas import read_delta
from tests.support.saved_models import facts
from tests.workers.conftest import Place
from workers.checking.drift import measure_drift
from workers.checking.limits import Limits
from workers.context import WorkerContext
from workers.held_out import BASE, STORED, HeldOutReadings, version_key
from workers.measuring import Measuring

ANY = {"EM": 0.0, "drift": 1e9, "retained": 1.0}


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out_text, "PORTION_TOKENS", 256)


def worker(place: Place, name: str = "worker") -> WorkerContext:
    """One that has read nothing yet."""
    return place.worker(name, measuring=Measuring(place.loaded.model, place.loaded.statistics, 10**6))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int, int]]:
    """What is run on held-out text: whether of the base, and which texts."""
    found: list[tuple[bool, int, int]] = []
    whole = HeldOutText._read

    def counted(text: HeldOutText, matrices: Matrices, start: int, end: int, should_stop: Any) -> list[float]:
        found.append((not matrices, start, end))
        return whole(text, matrices, start, end, should_stop)

    monkeypatch.setattr(HeldOutText, "_read", counted)
    return found


def moved(context: WorkerContext, share: float) -> Matrices:
    weight = context.model.decoder.projections[1].weight.detach()
    return {1: weight * (1 + share)}


def test_far_from_its_limits_a_check_reads_a_part_and_near_them_all(place: Place) -> None:
    context = worker(place)
    batch = place.batch(place.accept(facts(2)))
    after = moved(context, 1e-3)
    text = context.measuring.held_out().text
    first = measure_drift(context, batch, 0, {}, after, Limits({"drift": 1.2}, {"drift": 1.5}), never).measurement
    assert first.of == sum(text.predicted)
    assert first.n == sum(text.predicted[: text.portions[0]]) < first.of
    assert first.value is not None
    assert (first.parent, first.parent_low, first.parent_high) == (first.value, first.low, first.high)
    whole = context.measuring.measure(after, [], ("drift",))["drift"]
    assert whole.value is not None
    near = measure_drift(context, batch, 0, {}, after, Limits({"drift": whole.value}, {}), never)
    assert near.measurement.n == near.measurement.of
    assert near.measurement.value == pytest.approx(whole.value, rel=1e-9)
    assert (near.measurement.low, near.measurement.high) == pytest.approx((whole.low, whole.high), rel=1e-9)
    assert len(near.reading.tokens) == len(text)


def test_a_parents_reading_is_kept_with_it_and_not_read_again(place: Place, read: list[tuple[bool, int, int]]) -> None:
    context = worker(place)
    place.edit(facts(2), thresholds=ANY)
    first, row = list(read), place.version(1)
    assert row.blob is not None
    _, header = read_delta(place.blobs, row.blob, context.model.fingerprint, parts=())
    readings = context.measuring.held_out()
    kept = readings.at(version_key(row.matrix_hashes), {}, len(header[STORED]["log_likelihoods"]))
    assert header[STORED] == readings.as_stored(kept)
    assert read == first
    assert {texts[1:] for texts in first if texts[0]} == {texts[1:] for texts in first if not texts[0]}
    # Another worker has it from the blob, and reads base and edited weights alone.
    worker(place, "other")
    del read[:]
    batch = place.edit(facts(2, first=2), thresholds=ANY)
    assert batch.metrics is not None
    times = Counter((start, end) for of_base, start, end in read if not of_base)
    assert {place: 1 if place[0] < len(kept.tokens) else 2 for place in times} == times
    assert batch.metrics["drift"]["parent"] != batch.metrics["drift"]["value"]


@pytest.mark.parametrize(
    "stored",
    [None, 3, {}, {"text": "other", "log_likelihoods": [1.0]}, {"log_likelihoods": ["x"]}, {"log_likelihoods": [1, 2]}],
)
def test_what_is_stored_of_another_text_or_damaged_is_no_use(place: Place, stored: Any) -> None:
    readings = HeldOutReadings(worker(place).measuring.held_out().text)
    if isinstance(stored, dict) and "text" not in stored:
        stored = {"text": readings.text.identity, **stored}
    readings.take_stored(BASE, stored)
    readings.take_stored(BASE, {"text": readings.text.identity, "log_likelihoods": [float("nan")]})
    assert not readings.knows(BASE)
    readings.take_stored(BASE, {"text": readings.text.identity, "log_likelihoods": [-1.5] * 10_000})
    assert readings.at(BASE, {}, len(readings.text)).tokens == readings.text.predicted


def test_what_the_base_reads_is_kept_for_workers_to_come(
    place: Place, tmp_path: Path, read: list[tuple[bool, int, int]]
) -> None:
    loaded, folder = place.loaded, tmp_path / "kept"
    first = Measuring(loaded.model, loaded.statistics, 0, folder).held_out()
    first.begin()
    assert [of_base for of_base, _, _ in read] == [True]
    second = Measuring(loaded.model, loaded.statistics, 0, folder).held_out()
    second.begin()
    assert len(read) == 1
    assert second.known(BASE) == first.known(BASE)
    (file,) = folder.iterdir()
    file.write_text("{")
    assert not Measuring(loaded.model, loaded.statistics, 0, folder).held_out().knows(BASE)


def test_a_check_of_broken_weights_ends_without_a_value(place: Place) -> None:
    context = worker(place)
    batch = place.batch(place.accept(facts(2)))
    after = {1: torch.full_like(context.model.decoder.projections[1].weight, 1e38)}
    found = measure_drift(context, batch, 0, {}, after, Limits({"drift": 1.2}, {}), never).measurement
    assert (found.value, found.parent, found.low) == (None, None, None)
    assert 0 < found.n < (found.of or 0)
