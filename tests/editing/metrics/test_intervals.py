"""Intervals against a plain bootstrap, one resample and one fact at a time."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from api_schemas.facts import Fact
from editing.metrics.drift import drift
from editing.metrics.harmonic import HARMONIC
from editing.metrics.intervals import RESAMPLES, SEED, interval, interval_of_mean
from editing.metrics.metric import mean_of
from editing.readings.observations import AnswerScore, FactReading, HeldOutReading, Observations, PromptReading


def draws(number: int) -> list[list[int]]:
    generator = np.random.default_rng(SEED)
    return [generator.integers(0, number, size=number).tolist() for _ in range(RESAMPLES)]


def bounds(values: list[float]) -> tuple[float, float]:
    """The 2.5th and the 97.5th percentile, between neighboring values in proportion."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        lower = math.floor(place)
        upper = min(lower + 1, len(ordered) - 1)
        return ordered[lower] + (place - lower) * (ordered[upper] - ordered[lower])

    return at(0.025), at(0.975)


@pytest.mark.parametrize("number", [2, 7, 40, 1500])
def test_the_interval_of_a_mean_is_that_of_a_plain_bootstrap(number: int) -> None:
    source = random.Random(number)
    values = [source.choice([0.0, 1.0, source.random()]) for _ in range(number)]
    expected = bounds([math.fsum(values[n] for n in drawn) / number for drawn in draws(number)])
    assert interval_of_mean(values) == pytest.approx(expected, abs=1e-12)
    measured = mean_of(values)
    assert measured.value == pytest.approx(math.fsum(values) / number)
    assert measured.n == number
    assert measured.value is not None
    assert measured.low is not None
    assert measured.high is not None
    assert measured.low <= measured.value <= measured.high


def test_one_value_has_an_interval_of_no_width_and_none_has_none() -> None:
    assert interval_of_mean([0.5]) == (0.5, 0.5)
    assert interval_of_mean([]) == (None, None)
    assert interval_of_mean([1.0, math.nan]) == (None, None)
    broken = mean_of([1.0, math.inf])
    assert (broken.value, broken.n, broken.low) == (None, 2, None)


def test_about_95_of_100_intervals_hold_the_true_mean() -> None:
    source = random.Random(5)
    held = 0
    for _ in range(200):
        low, high = interval_of_mean([float(source.random() < 0.6) for _ in range(80)])
        assert low is not None
        assert high is not None
        held += low <= 0.6 <= high
    assert 180 <= held <= 198


def test_the_interval_of_drift_draws_texts_with_what_each_lost() -> None:
    source = random.Random(1)
    tokens = [source.randrange(0, 90) for _ in range(25)]
    before = [-3.0 * count + source.gauss(0, 1) for count in tokens]
    now = [was - 0.1 * count + source.gauss(0, 2) for was, count in zip(before, tokens, strict=True)]
    lost = [was - still for was, still in zip(before, now, strict=True)]
    measured = drift(HeldOutReading(tuple(now), tuple(tokens)), HeldOutReading(tuple(before), tuple(tokens)))
    assert measured.value == pytest.approx(math.exp(sum(lost) / sum(tokens)))
    rows = [row for row in zip(lost, tokens, strict=True) if row[1]]
    expected = bounds(
        [math.exp(sum(rows[n][0] for n in drawn) / sum(rows[n][1] for n in drawn)) for drawn in draws(len(rows))]
    )
    assert (measured.low, measured.high) == pytest.approx(expected, rel=1e-12)
    # Paired: far narrower than the spread of the texts themselves.
    assert measured.value is not None
    assert measured.low is not None
    assert measured.high is not None
    assert measured.high - measured.low < 0.2


def reading(index: int, new: float, old: float | None, own: float | None) -> FactReading:
    def score(value: float | None) -> AnswerScore | None:
        return None if value is None else AnswerScore(value, False, 0, (1,))

    fact = Fact(prompt="{} is", subject="Lyon", target_new="French")
    at_prompt = PromptReading("", AnswerScore(new, False), score(old))
    neighbors = () if own is None else (PromptReading("", AnswerScore(new, False), score(own)),)
    return FactReading(index, fact, prompt=at_prompt, paraphrases=(at_prompt,), neighbors=neighbors)


def test_the_interval_of_s_draws_facts_with_all_that_they_have() -> None:
    source = random.Random(3)
    facts = tuple(
        reading(
            n, source.random(), source.choice([None, source.random()]), source.choice([None, source.random() + 0.3])
        )
        for n in range(30)
    )
    measured = HARMONIC.overall(Observations(facts))

    def s_of(drawn: list[int]) -> float:
        parts = []
        for column in range(2):
            hits = []
            for n in drawn:
                at = facts[n].prompt if column == 0 else next(iter(facts[n].neighbors), None)
                if at is not None and at.old is not None:
                    wins = at.new.log_probability > at.old.log_probability
                    hits.append(float(wins if column == 0 else not wins))
            parts.append(sum(hits) / len(hits))
        return 3 / (2 / parts[0] + 1 / parts[1])

    assert measured.value == pytest.approx(s_of(list(range(30))))
    assert (measured.low, measured.high) == pytest.approx(bounds([s_of(drawn) for drawn in draws(30)]))


def test_resamples_without_a_value_are_left_out() -> None:
    low, high = interval([(1.0, 1.0), (0.0, 0.0)], lambda sums: sums[:, 0] / sums[:, 1])
    assert (low, high) == (1.0, 1.0)
    assert interval([(0.0, 0.0)], lambda sums: sums[:, 0] / sums[:, 1]) == (None, None)
