"""Drift read in portions decides as all of the text does, and stops early where it can."""

from __future__ import annotations

import math
import random

import pytest

from editing.metrics.drift import drift
from editing.metrics.sequential_drift import (
    NARROW,
    enough,
    lost_texts,
    mean_and_error,
    student_probability,
    student_quantile,
)
from editing.readings.observations import HeldOutReading

TEXTS, PORTION = 40, 4
LIMIT = 1.2


def readings(
    mean: float, spread: float, seed: int, heavy: float = 0.0, exact: bool = True
) -> tuple[HeldOutReading, HeldOutReading]:
    """A parent's reading and a version's that lost `mean` nats a token, `spread` between texts; `heavy` of the texts
    lose ten times that. With `exact`, the loss over all texts is `mean` to the last bit but rounding."""
    source = random.Random(seed)
    tokens = [source.randrange(40, 128) for _ in range(TEXTS)]
    before = [-3.0 * n + source.gauss(0, 20) for n in tokens]
    rates = [source.gauss(0, spread * (10 if source.random() < heavy else 1)) for _ in tokens]
    if exact:
        off = sum(rate * n for rate, n in zip(rates, tokens, strict=True)) / sum(tokens)
        rates = [rate - off for rate in rates]
    now = [was - (mean + rate) * n for was, rate, n in zip(before, rates, tokens, strict=True)]
    return HeldOutReading(tuple(before), tuple(tokens)), HeldOutReading(tuple(now), tuple(tokens))


def cut(reading: HeldOutReading, texts: int) -> HeldOutReading:
    return HeldOutReading(reading.log_likelihoods[:texts], reading.tokens[:texts])


def read_until_enough(before: HeldOutReading, now: HeldOutReading, limit: float | None) -> int:
    """How many texts a check reads, portion after portion."""
    for texts in range(PORTION, TEXTS + 1, PORTION):
        if enough(cut(now, texts), [(cut(before, texts), limit)], TEXTS):
            return texts
    raise AssertionError("all texts are enough")


def is_above(before: HeldOutReading, now: HeldOutReading, texts: int) -> bool:
    value = drift(cut(now, texts), cut(before, texts)).value
    assert value is not None
    return value > LIMIT


def test_students_distribution_meets_its_tables() -> None:
    for degrees, probability, quantile in [
        (1, 0.95, 12.706),
        (2, 0.95, 4.3027),
        (3, 0.999, 12.924),
        (7, 0.999, 5.4079),
        (30, 0.99, 2.7500),
    ]:
        assert student_quantile(degrees, probability) == pytest.approx(quantile, rel=1e-4)
        assert student_probability(degrees, quantile) == pytest.approx(probability, abs=1e-5)
    assert student_quantile(0, 0.95) == math.inf


def test_the_error_is_that_of_means_over_drawn_texts() -> None:
    before, now = readings(0.1, 0.05, seed=3)
    mean, error = mean_and_error(lost_texts(before, now), now.tokens)
    assert math.exp(mean) == pytest.approx(drift(now, before).value)
    source = random.Random(1)
    lost = lost_texts(before, now)
    means = []
    for _ in range(3000):
        drawn = source.choices(range(TEXTS), k=TEXTS)
        means.append(sum(lost[n] for n in drawn) / sum(now.tokens[n] for n in drawn))
    middle = sum(means) / len(means)
    deviation = math.sqrt(sum((one - middle) ** 2 for one in means) / (len(means) - 1))
    assert error == pytest.approx(deviation, rel=0.08)
    assert mean_and_error([0.5], [10]) == (0.05, math.inf)


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("heavy", [0.0, 0.1])
def test_decisions_around_the_threshold_are_those_of_the_whole_text(spread: float, heavy: float) -> None:
    """40 batches from 30% of the threshold to as far beyond it, half on each side: at most one differs."""
    differing, read = 0, 0
    for number in range(40):
        side = -1 if number % 2 else 1
        mean = math.log(LIMIT) * (1 + side * 0.7 * (number // 2 + 0.5) / 20)
        before, now = readings(mean, spread, seed=number, heavy=heavy)
        texts = read_until_enough(before, now, LIMIT)
        differing += is_above(before, now, texts) != is_above(before, now, TEXTS)
        read += texts
    assert differing <= 1
    assert read < 40 * TEXTS


def test_a_batch_far_from_its_threshold_stops_early_and_one_near_it_reads_all() -> None:
    far = [read_until_enough(*readings(0.002, 0.01, seed), LIMIT) for seed in range(40)]
    beyond = [read_until_enough(*readings(1.5, 0.05, seed), LIMIT) for seed in range(40)]
    near = [read_until_enough(*readings(math.log(LIMIT) - 1e-4, 0.05, seed), LIMIT) for seed in range(40)]
    assert max(far) <= 2 * PORTION
    assert max(beyond) <= 2 * PORTION
    assert sorted(near)[2] == TEXTS


def test_what_is_kept_is_known_narrowly_though_its_limit_is_decided() -> None:
    before, now = readings(0.02, 0.04, seed=2)
    texts = read_until_enough(before, now, 50.0)
    assert PORTION < texts < TEXTS
    read_before, read_now = cut(before, texts), cut(now, texts)
    _, error = mean_and_error(lost_texts(read_before, read_now), read_now.tokens)
    assert error * student_quantile(texts - 1, 0.95) <= NARROW
    # What clearly misses its limit is not published: nothing of it is kept.
    assert read_until_enough(before, now, 0.5) < texts


def test_every_limit_must_be_decided() -> None:
    before, now = readings(0.0, 0.004, seed=5)
    base = HeldOutReading(
        tuple(one + 0.4 * n for one, n in zip(before.log_likelihoods, before.tokens, strict=True)), before.tokens
    )
    texts = 2 * PORTION
    of_parent, of_base, read = cut(before, texts), cut(base, texts), cut(now, texts)
    assert enough(read, [(of_parent, LIMIT), (of_base, 2.0)], TEXTS)
    assert not enough(read, [(of_parent, LIMIT), (of_base, math.exp(0.4))], TEXTS)
    assert enough(now, [(before, LIMIT), (base, math.exp(0.4))], TEXTS)


def test_one_text_decides_nothing_and_a_broken_model_needs_no_more() -> None:
    before, now = readings(0.0, 0.0, seed=1)
    assert not enough(cut(now, 1), [(cut(before, 1), LIMIT)], TEXTS)
    broken = HeldOutReading((math.nan, *now.log_likelihoods[1:4]), now.tokens[:4])
    assert enough(broken, [(cut(before, 4), LIMIT)], TEXTS)
    assert enough(cut(now, 4), [(cut(before, 4), 0.0)], TEXTS)  # no drift can be below such a limit
