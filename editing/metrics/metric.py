"""What a metric is: a name, the readings it needs, and a number made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from api_schemas.metrics import Measurement, MetricName
from editing.readings.observations import FactReading, Observations, PromptReading, Reading


@dataclass(frozen=True)
class Metric:
    """`of_fact` gives one fact's value, None where the fact does not count; `overall` the measurement of a version.

    `better` says which way is good; "near base" means that a change either way is damage.
    """

    name: MetricName
    title: str
    summary: str
    better: Literal["higher", "lower", "near base"]
    reads: frozenset[Reading]
    overall: Callable[[Observations], Measurement]
    of_fact: Callable[[FactReading], float | None] | None = None


def mean_over_facts(of_fact: Callable[[FactReading], float | None]) -> Callable[[Observations], Measurement]:
    """The mean over the facts that count, with their number; null where there are none."""

    def overall(observed: Observations) -> Measurement:
        values = [value for fact in observed.facts if (value := of_fact(fact)) is not None]
        return Measurement(value=math.fsum(values) / len(values) if values else None, n=len(values))

    return overall


def share(hits: list[bool]) -> float | None:
    """How many of `hits` are true; None for none at all."""
    return sum(hits) / len(hits) if hits else None


def new_over_old(reading: PromptReading) -> bool | None:
    """P(new) > P(old) at this prompt; None where the old target is not known."""
    return None if reading.old is None else reading.new.log_probability > reading.old.log_probability
