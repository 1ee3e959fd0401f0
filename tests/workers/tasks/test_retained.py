"""What a batch leaves of the facts corrected before it: measured at every check, held against limits, and told."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from api_schemas.facts import Fact
from api_schemas.metrics import DriftMeasurement, Measurement, RetainedMetrics
from editing.metrics.evaluation import evaluate
from editing.model.token_sequences import TokenSequences
from editing.readings.perplexity import perplexity
from store.lineage import fact_readings
from store.lineage import versions as lineage
from store.lineage.facts_in_force import Place as FactPlace
from store.lineage.facts_in_force import lineage_facts
from store.lineage.force_count import facts_in_force_after
from store.schema.reading_tables import FactReadingRow
from store.schema.tables import BatchRow
from store.work import batches
from tests.support.saved_models import SUBJECTS, fact, facts
from tests.workers.conftest import MODEL, Place, opened
from workers.checking.limits import limits_of, over_budget, retained_breach
from workers.checking.wear import LEAST_RETAINED, MOST_FALL, used_share, wear_warning

ANY = {"EM": 0.0, "drift": 1e9, "retained": 1.0}
BATCHES, SIZE = 8, 3
ROUGH = {"steps": 25, "mu": 0.0, "repair_rounds": 0}
"""What wears a line: nothing preserved, nothing repaired."""


def said_before(place: Place, batch: BatchRow) -> list[Fact]:
    """What the parent says and the batch does not correct, read whole."""
    assert batch.base_version is not None
    with place.database.reading() as session:
        standing = [one for one in lineage_facts(session, MODEL, batch.base_version) if one.state == "in_force"]
        own = {(one["prompt"], one["subject"]) for one in lineage_own(place, batch)}
    return [Fact.model_validate(one.fact) for one in standing if (one.fact["prompt"], one.fact["subject"]) not in own]


def lineage_own(place: Place, batch: BatchRow) -> list[dict[str, Any]]:
    with place.database.reading() as session:
        return batches.facts(session, batch.id)


def plainly(place: Place, version: int, of: list[Fact]) -> dict[str, dict[str, float | int | None]]:
    model = place.loaded.model
    found = evaluate(model.decoder, model.backend_tokenizer, place.cache().get(version), of, ("EM", "GA"))
    return {name: {"value": one.value, "n": one.n} for name, one in found.metrics.items()}


def perplexity_of(place: Place, version: int, n: int) -> float:
    """Of those texts, in the order in which they are read, that have `n` tokens to predict."""
    text = place.loaded.measuring.held_out().text
    texts = next(texts for texts in range(len(text) + 1) if sum(text.predicted[:texts]) == n)
    rows = TokenSequences.of([row.tolist() for row in text.texts.sequences()[:texts]])
    return perplexity(place.loaded.model.decoder, place.cache().get(version), rows)


def figures(measured: dict[str, Any]) -> dict[str, dict[str, float | int | None]]:
    return {name: {"value": one["value"], "n": one["n"]} for name, one in measured.items()}


def test_the_figures_of_a_line_of_eight_batches_are_those_of_a_plain_recomputation(place: Place) -> None:
    place.worker()
    for number in range(BATCHES):
        of = facts(SIZE, first=SIZE * number)
        if number == 4:
            of[0] = {**fact(0), "target_new": "German"}
        batch = place.edit(of, settings=ROUGH, thresholds=ANY)
        assert batch.state == "succeeded", batch.error
        assert batch.metrics is not None
        earlier = said_before(place, batch)
        if number == 0:
            assert batch.metrics["retained"] is None
            continue
        assert len(earlier) == SIZE * number - (1 if number >= 4 else 0)
        assert figures(batch.metrics["retained"]["before"]) == plainly(place, number, earlier)
        assert figures(batch.metrics["retained"]["after"]) == plainly(place, number + 1, earlier)
        drift = batch.metrics["drift"]
        base, parent, now = (perplexity_of(place, version, drift["n"]) for version in (0, number, number + 1))
        assert drift["value"] == pytest.approx(now / base)
        assert drift["parent"] == pytest.approx(now / parent)
        assert drift["low"] <= drift["value"] <= drift["high"]
        assert drift["parent_low"] <= drift["parent"] <= drift["parent_high"]
    with place.database.reading() as session:
        for number in range(1, BATCHES + 1):
            standing = [one for one in lineage_facts(session, MODEL, number) if one.state == "in_force"]
            assert place.version(number).facts_in_force == len(standing)
        first = place.version(1).batch_id
        assert first is not None
        one = FactPlace(first, 1, 1)
        version, values = fact_readings.newest(session, MODEL, BATCHES, [one])[one]
        assert version == BATCHES
        assert set(values) == {"EM", "GA"}


def test_a_sample_is_no_larger_than_the_setting_says(tmp_path: Any, load: Any, database_url: str) -> None:
    with opened(load("llama"), tmp_path, database_url, retained_sample=2) as place:
        place.edit(facts(4), thresholds=ANY)
        batch = place.edit(facts(2, first=4), thresholds=ANY)
        assert batch.metrics is not None
        assert batch.metrics["retained"]["after"]["EM"]["n"] == 2


def test_what_the_parents_check_read_is_not_read_again(place: Place) -> None:
    place.edit(facts(2), thresholds=ANY)
    place.edit(facts(2, first=2), thresholds=ANY)
    with place.database.writing() as session:
        first = place.version(1).batch_id
        assert first is not None
        session.execute(
            update(FactReadingRow)
            .where(FactReadingRow.version == 2, FactReadingRow.batch_id == first)
            .values(after={"EM": 0.25, "GA": 0.5})
        )
    batch = place.edit(facts(2, first=4), thresholds=ANY)
    assert batch.metrics is not None
    own = said_before(place, batch)[2:]
    read = plainly(place, 2, own)["EM"]["value"]
    assert read is not None
    assert batch.metrics["retained"]["before"]["EM"]["value"] == pytest.approx((2 * 0.25 + 2 * read) / 4)


def test_a_line_driven_into_collapse_is_told_of_before_a_tenth_of_its_facts_is_lost(place: Place) -> None:
    """Batch after batch about other subjects with nothing preserved: the first sign comes before the loss."""
    place.worker()
    lost_when_told: float | None = None
    taught: list[Fact] = []
    for number in range(len(SUBJECTS) // 2):
        of = facts(2, first=2 * number)
        batch = place.edit(of, settings={**ROUGH, "steps": 40}, thresholds={**ANY, "retained": 0.1})
        assert batch.metrics is not None
        codes = [one["code"] for one in batch.metrics["warnings"]]
        if "line_worn" in codes or batch.state == "rejected":
            lost_when_told = 0.0
            if taught:
                was = plainly(place, place.latest(), taught)["EM"]["value"]
                assert was is not None
                lost_when_told = 1.0 - was
            break
        taught += [Fact.model_validate(one) for one in of]
    assert lost_when_told is not None, "the line never wore"
    assert lost_when_told <= 0.1 + 1 / len(taught)


def test_a_batch_beyond_the_budget_is_rejected_and_one_on_a_used_line_fails_before_any_work(place: Place) -> None:
    first = place.edit(facts(2), thresholds=ANY)
    assert first.metrics is not None
    used = first.metrics["drift"]["value"]
    assert used > 1
    surely = first.metrics["drift"]["low"]  # what was read of the text says so, whatever the rest of it may be
    assert surely > 1
    waits = place.accept(facts(1, first=6), thresholds=ANY, budget={"drift": max(1.0, surely - 0.001)})
    second = place.accept(facts(2, first=2), thresholds=ANY, budget={"drift": used * 1.0000001})
    place.run()
    planned = place.batch(waits)
    assert planned.state == "failed"
    assert planned.error is not None
    assert planned.error["code"] == "budget_exceeded"
    assert "consolidate the line" in planned.error["detail"]
    assert place.tasks_of(waits, "values") == []
    row = place.batch(second)
    if row.metrics is not None and row.metrics["drift"]["value"] > used * 1.0000001:
        assert row.state == "rejected"
        assert row.error is not None
        assert row.error["code"] == "budget_exceeded"
        assert "onsolidate" in row.error["detail"]
        assert place.versions() == [1]


def test_thresholds_are_on_the_change_and_the_budget_on_the_line() -> None:
    drift = DriftMeasurement(value=1.45, parent=1.02, n=100)
    assert over_budget(drift, {"drift": 1.5}) is None
    assert over_budget(drift, {}) is None
    found = over_budget(drift, {"drift": 1.4})
    assert found == "drift against the base is 1.45, above the lineage's budget of 1.4"


def test_what_a_part_of_the_text_says_is_beyond_a_budget_only_with_its_whole_interval() -> None:
    def drift(low: float | None, n: int, of: int | None) -> DriftMeasurement:
        return DriftMeasurement(value=1.45, low=low, high=1.5, n=n, of=of)

    assert drift(1.3, 4000, 4000).is_beyond(1.4)
    assert drift(1.3, 4000, None).is_beyond(1.4)
    assert drift(1.41, 500, 4000).is_beyond(1.4)
    assert drift(None, 500, 4000).is_beyond(1.4)
    assert not drift(1.39, 500, 4000).is_beyond(1.4)
    assert not drift(1.41, 500, 4000).is_beyond(1.45)
    assert not DriftMeasurement(value=None, n=0).is_beyond(1.0)


def test_a_budget_that_the_parents_reading_leaves_open_is_decided_by_the_check(place: Place) -> None:
    first = place.edit(facts(2), thresholds=ANY)
    assert first.metrics is not None
    used = first.metrics["drift"]["value"]
    with place.database.writing() as session:
        row = lineage.get(session, MODEL, 1)
        row.metrics = {**(row.metrics or {}), "drift": {**first.metrics["drift"], "low": used - 0.01, "n": 10}}
    batch = place.edit(facts(2, first=2), thresholds=ANY, budget={"drift": max(1.0, used - 0.005)})
    assert batch.metrics is not None
    assert batch.metrics["drift"]["n"] > 0
    beyond = batch.metrics["drift"]["value"] > max(1.0, used - 0.005)
    assert batch.state == ("rejected" if beyond else "succeeded")


def test_a_batch_from_before_there_were_budgets_is_held_against_the_base() -> None:
    before = limits_of(BatchRow(thresholds={"EM": 0.5, "drift": 1.3}, budget=None))
    assert (before.thresholds, before.budget) == ({"EM": 0.5}, {"drift": 1.3})
    now = limits_of(BatchRow(thresholds={"EM": 0.5, "drift": 1.3}, budget={"drift": 1.5}))
    assert (now.thresholds, now.budget) == ({"EM": 0.5, "drift": 1.3}, {"drift": 1.5})


def retained(before: float | None, after: float | None, n: int) -> RetainedMetrics:
    def em(value: float | None) -> dict[str, Measurement]:
        return {"EM": Measurement(value=value, n=n), "GA": Measurement(value=value, n=n)}

    return RetainedMetrics(before=em(before), after=em(after))


@pytest.mark.parametrize(
    ("before", "after", "n", "limit", "says"),
    [
        (1.0, 0.95, 20, 0.1, None),
        (1.0, 0.85, 20, 0.1, "EM of 20 earlier facts fell from 1 to 0.85, a fall of 0.15, above its threshold 0.1"),
        (1.0, 0.75, 4, 0.1, None),
        (1.0, 0.5, 4, 0.1, "EM of 4 earlier facts fell from 1 to 0.5, a fall of 0.5, above its threshold 0.1"),
        (1.0, 0.75, 4, 0.0, "EM of 4 earlier facts fell from 1 to 0.75, a fall of 0.25, above its threshold 0"),
        (0.5, 1.0, 4, 0.0, None),
        (1.0, None, 4, 0.1, "EM of earlier facts could not be measured, but a threshold of 0.1 is set on its fall"),
    ],
)
def test_the_threshold_on_earlier_facts_bounds_their_fall(
    before: float, after: float | None, n: int, limit: float, says: str | None
) -> None:
    assert retained_breach(retained(before, after, n), limit) == says
    assert retained_breach(None, limit) is None


def test_a_line_wears_by_what_is_lost_by_what_falls_and_by_what_is_used() -> None:
    budget = {"drift": 1.5}
    slow = [{"retained": retained(0.99, 0.97, 64).model_dump()}] * 2
    assert wear_warning("m", retained(1.0, 0.98, 64), 1.2, budget, []) is None
    assert wear_warning("m", None, 1.2, budget, slow) is None
    low = wear_warning("m", retained(0.89, 0.89, 64), 1.2, budget, [])
    assert low is not None
    assert "89% of the sampled earlier facts" in low.detail
    falls = wear_warning("m", retained(0.97, 0.95, 64), 1.2, budget, slow)
    assert falls is not None
    assert "fell by 0.060 within the last 3 versions" in falls.detail
    assert "consolidate" in falls.detail
    used = wear_warning("m", retained(1.0, 1.0, 64), 1.41, budget, [])
    assert used is not None
    assert "82% of the budget of drift (1.5) is used" in used.detail
    assert wear_warning("m", None, 9.0, {}, []) is None
    assert (LEAST_RETAINED, MOST_FALL) == (0.9, 0.05)


def test_the_share_of_a_budget() -> None:
    assert used_share(1.2, {"drift": 1.4}) == pytest.approx(0.5)
    assert used_share(0.9, {"drift": 1.4}) == 0.0
    assert used_share(1.0, {"drift": 1.0}) == 0.0
    assert used_share(1.1, {"drift": 1.0}) == 1.0
    assert used_share(None, {"drift": 1.4}) is None


def test_a_count_of_what_is_said_stands_beside_the_version(place: Place) -> None:
    place.edit(facts(2), thresholds=ANY)
    batch = place.edit([{**fact(0), "target_new": "German"}, fact(5)], thresholds=ANY)
    with place.database.reading() as session:
        assert facts_in_force_after(session, batch, 1) == 3
    assert [place.version(number).facts_in_force for number in (1, 2)] == [2, 3]
