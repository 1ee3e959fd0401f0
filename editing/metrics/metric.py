"""What a metric is: a name, the readings it needs, a number made of them, and how a threshold on it is held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics.intervals import interval_of_mean
from editing.readings.observations import FactReading, Observations, PromptReading, Reading

Values = Mapping[str, float | None]
"""One fact's own values by the names of metrics; None where the fact does not count in one."""


@dataclass(frozen=True)
class Need:
    """What a metric cannot do without: on facts that do not meet it n would be 0. `words` name it to who sends them."""

    words: str
    met_by: Callable[[Sequence[Fact]], bool]


@dataclass(frozen=True)
class Metric:
    """`of_fact` gives one fact's value, None where the fact does not count; `overall` the measurement of a version.

    `of_values` makes the measurement of what was kept of each fact, which has the values of this metric, or of its
    `parts`; None where it is the mean of its own. `protocol` names how facts are measured, where there are
    several ways: by whether one of them has generation prompts.
    `better` says which way is good; "near base" means that a change either way is damage. `needs` is None where any
    fact can be measured. `checked_on` says what the check before every publication measures it on; None is only where a
    threshold asks for it, on the sample then. `in_conversation`: only a model with a chat template can be asked.
    """

    name: str
    title: str
    summary: str
    better: Literal["higher", "lower", "near base"]
    reads: frozenset[Reading]
    overall: Callable[[Observations], Measurement]
    of_fact: Callable[[FactReading], float | None] | None = None
    of_values: Callable[[Sequence[Values]], Measurement] | None = None
    parts: tuple[str, ...] = ()
    protocol: Callable[[bool], str] | None = None
    needs: Need | None = None
    checked_on: Literal["a sample", "a small sample", "every fact", "held-out text"] | None = None
    in_conversation: bool = False

    def over(self, values: Sequence[Values]) -> Measurement:
        """The measurement of a version, of which `values` were kept fact by fact: the one that `overall` makes.

        Without its protocol.
        """
        if self.of_values is not None:
            return self.of_values(values)
        return mean_of(value for one in values if (value := one[self.name]) is not None)

    def breach(self, limit: float, before: Measurement | None, after: Measurement | None) -> str | None:
        """How a version measured as `after` misses the threshold `limit`, where its parent was measured as `before`.

        None where it does not; what could not be measured misses every threshold. A limit is the least value where
        higher is better, the greatest where lower is, and near base the greatest |after − before| / |before|.
        """
        value = None if after is None else after.value
        was = None if before is None else before.value
        if value is None or (self.better == "near base" and was is None):
            return f"{self.name} could not be measured, but a threshold of {limit:g} is set on it"
        match self.better:
            case "higher" if not value >= limit:
                return f"{self.name} is {value:.4g}, below its threshold {limit:g}"
            case "lower" if not value <= limit:
                return f"{self.name} is {value:.4g}, above its threshold {limit:g}"
            case "near base" if was is not None and not (change := _relative_change(was, value)) <= limit:
                moved = f"{self.name} went from {was:.4g} to {value:.4g}"
                return f"{moved}, a relative change of {change:.4g}, above its threshold {limit:g}"
        return None


def _relative_change(before: float, after: float) -> float:
    """|after − before| / |before|; infinite for any change from 0."""
    if before == 0:
        return 0.0 if after == 0 else math.inf
    return abs(after - before) / abs(before)


def some_fact(has: Callable[[Fact], bool]) -> Callable[[Sequence[Fact]], bool]:
    """Whether one fact of several `has` it."""
    return lambda facts: any(has(fact) for fact in facts)


def mean_over_facts(of_fact: Callable[[FactReading], float | None]) -> Callable[[Observations], Measurement]:
    """The mean over the facts that count, with their number and an interval over them; null where there are none."""
    return lambda observed: mean_of(value for fact in observed.facts if (value := of_fact(fact)) is not None)


def mean_of(of_facts: Iterable[float]) -> Measurement:
    """The mean of facts' own values. Null, though n is not 0, where one is not finite: such numbers do not travel."""
    values = list(of_facts)
    mean = math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else None
    low, high = interval_of_mean(values)
    return Measurement(value=mean, n=len(values), low=low, high=high)


def share(hits: Sequence[bool]) -> float | None:
    """How many of `hits` are true; None for none at all."""
    return sum(hits) / len(hits) if hits else None


def mean_or_none(values: Sequence[float]) -> float | None:
    """The mean of one fact's values; None for none at all."""
    return math.fsum(values) / len(values) if values else None


def new_over_old(reading: PromptReading) -> bool | None:
    """P(new) > P(old) at this prompt; None where the old target is not known."""
    return None if reading.old is None else reading.new.log_probability > reading.old.log_probability
