"""What is checked before a version is published."""

from __future__ import annotations

import math

import pytest
import torch

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.progress import never, silent
from tests.support.saved_models import fact, facts
from tests.workers.conftest import Place
from workers.checking.limits import asked_for, breaches
from workers.tasks.check import (
    ON_EVERY_FACT,
    ON_SAMPLE,
    ON_SMALL_SAMPLE,
    SAMPLE,
    SMALL_SAMPLE,
    check_edit,
    sample,
    small_sample,
)


def measured(**values: float | None) -> dict[str, Measurement]:
    return {name: Measurement(value=value, n=0 if value is None else 5) for name, value in values.items()}


@pytest.mark.parametrize(
    ("found", "thresholds", "says"),
    [
        ({"EM": 0.4}, {"EM": 0.5}, ["EM is 0.4, below its threshold 0.5"]),
        ({"EM": 0.5}, {"EM": 0.5}, []),
        ({"drift": 1.6}, {"drift": 1.5}, ["drift is 1.6, above its threshold 1.5"]),
        ({"drift": 1.5}, {"drift": 1.5}, []),
        ({"drift": math.inf}, {"drift": 1e9}, ["drift is inf, above its threshold 1e+09"]),
        ({"drift": math.nan}, {"drift": 1.5}, ["drift is nan, above its threshold 1.5"]),
        ({"EM": math.nan}, {"EM": 0.5}, ["EM is nan, below its threshold 0.5"]),
        ({"PS": None}, {"PS": 0.5}, ["PS could not be measured, but a threshold of 0.5 is set on it"]),
        ({}, {"NS": 0.5}, ["NS could not be measured, but a threshold of 0.5 is set on it"]),
        ({"ES": 0.9, "EM": 0.1, "drift": 9.0}, {"ES": 0.5, "EM": 0.5, "drift": 2.0}, ["EM is 0.1", "drift is 9"]),
    ],
)
def test_thresholds(found: dict[str, float | None], thresholds: dict[str, float], says: list[str]) -> None:
    lines = sorted(breaches({}, measured(**found), thresholds))
    assert len(lines) == len(says)
    assert all(line.startswith(start) for line, start in zip(lines, says, strict=True))


@pytest.mark.parametrize(
    ("before", "after", "limit", "says"),
    [
        (600.0, 570.0, 0.05, []),
        (600.0, 630.0, 0.05, []),
        (
            600.0,
            540.0,
            0.05,
            ["GE went from 600 to 540, a relative change of 0.1, above its threshold 0.05"],
        ),
        (
            600.0,
            660.0,
            0.05,
            ["GE went from 600 to 660, a relative change of 0.1, above its threshold 0.05"],
        ),
        (0.0, 0.0, 0.0, []),
        (0.0, 1.0, 1e9, ["GE went from 0 to 1, a relative change of inf, above its threshold 1e+09"]),
        (600.0, math.nan, 0.05, ["GE went from 600 to nan, a relative change of nan, above its threshold 0.05"]),
        (None, 600.0, 0.05, ["GE could not be measured, but a threshold of 0.05 is set on it"]),
        (600.0, None, 0.05, ["GE could not be measured, but a threshold of 0.05 is set on it"]),
    ],
)
def test_a_threshold_on_what_should_stay_near_the_base_bounds_the_change_either_way(
    before: float | None, after: float | None, limit: float, says: list[str]
) -> None:
    assert breaches(measured(GE=before), measured(GE=after), {"GE": limit}) == says


def test_every_check_measures_the_same_metrics_and_a_threshold_adds_its_own() -> None:
    assert (ON_SAMPLE, ON_EVERY_FACT) == (("ES", "PS", "NS", "S"), ("EM",))
    assert ON_SMALL_SAMPLE == ("GA", "GA_paraphrase", "GA_chat")
    assert asked_for({"GE": 0.1, "EM": 0.5, "drift": 1.5, "GA": 0.2, "NS": 0.1, "locality": 1}) == ["GE", "locality"]


def test_few_facts_are_answered_aloud_each_in_few_of_its_paraphrases() -> None:
    many = [
        Fact.model_validate({**fact(0), "subject": f"Person {n}", "paraphrases": ["a", "b", "c"]}) for n in range(50)
    ]
    chosen = small_sample(many, seed=3)
    assert len(chosen) == SMALL_SAMPLE
    assert {tuple(one.paraphrases) for one in chosen} == {("a", "b")}
    assert [one.subject for one in chosen] == [one.subject for one in sample(many, 3, SMALL_SAMPLE)]


def test_the_sample_is_the_same_for_the_same_batch_and_in_order() -> None:
    many = [Fact.model_validate({**fact(0), "subject": f"Person {n}", "paraphrases": []}) for n in range(SAMPLE + 50)]
    chosen = sample(many, seed=3)
    numbers = [many.index(one) for one in chosen]
    assert len(set(numbers)) == SAMPLE
    assert numbers == sorted(numbers)
    assert sample(many, seed=3) == chosen
    assert sample(many, seed=4) != chosen
    assert sample(many[:SAMPLE], seed=3) == many[:SAMPLE]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_unmeasured(place: Place, broken: float) -> None:
    context = place.worker()
    batch = place.batch(place.accept(facts(2)))
    matrix = place.loaded.model.decoder.projections[1].weight.clone()
    matrix[0, 0] = broken

    wanted = [Fact.model_validate(one) for one in facts(2)]
    checked = check_edit(context, batch, wanted, 0, {}, {1: matrix}, never, silent)

    assert checked.breaches == ["layers [1] would hold weights that are not finite"]
    assert checked.after == {}


def test_a_threshold_on_any_metric_is_measured_and_held(place: Place) -> None:
    batch = place.edit(facts(2), thresholds={"EM": 0.5, "drift": 1.5, "NS": 0.0, "GA": 2.0})
    assert batch.state == "rejected"
    assert batch.error is not None
    assert "GA is" in batch.error["detail"]
    assert "below its threshold 2" in batch.error["detail"]
    assert torch.isfinite(torch.tensor(batch.metrics["after"]["GA"]["value"]))  # type: ignore[index]
