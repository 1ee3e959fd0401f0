"""S: efficacy, paraphrase and neighborhood in one number, in which none can make up for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics.efficacy import EFFICACY
from editing.metrics.intervals import interval
from editing.metrics.metric import Metric, Need, Values
from editing.metrics.neighborhood import NEIGHBORHOOD
from editing.metrics.paraphrase import PARAPHRASE
from editing.readings.observations import FactReading, Observations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PARTS = (EFFICACY, PARAPHRASE, NEIGHBORHOOD)


def overall(observed: Observations) -> Measurement:
    """Harmonic mean of ES, PS and NS; `n` is the smallest of theirs, and with n = 0 there is no value."""
    return of_values([_values(fact) for fact in observed.facts])


def of_values(values: Sequence[Values]) -> Measurement:
    """The same of the three values of each fact. The interval draws facts, each with all that it has of the three."""
    parts = [metric.over(values) for metric in _PARTS]
    n = min(part.n for part in parts)
    means = [part.value for part in parts if part.value is not None]
    if n == 0 or len(means) < len(_PARTS):
        return Measurement(value=None, n=0)
    low, high = interval([_summands(one) for one in values], _harmonic)
    value = 0.0 if min(means) == 0 else len(means) / sum(1 / mean for mean in means)
    return Measurement(value=value, n=n, low=low, high=high)


def _values(fact: FactReading) -> dict[str, float | None]:
    return {part.name: None if part.of_fact is None else part.of_fact(fact) for part in _PARTS}


def _summands(values: Values) -> list[float]:
    """Of each part a fact's value, or 0 where it does not count, and whether it counts."""
    of_parts = [values[part.name] for part in _PARTS]
    return [summand for value in of_parts for summand in ((0.0, 0.0) if value is None else (value, 1.0))]


def _harmonic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From sums (resamples, 2 · parts). A part that is 0 makes the whole 0; a part that no drawn fact has, NaN."""
    means = sums[:, 0::2] / sums[:, 1::2]
    harmonic: NDArray[np.float64] = means.shape[1] / (1 / means).sum(1)
    return harmonic


def _measurable(facts: Sequence[Fact]) -> bool:
    return all(part.needs is None or part.needs.met_by(facts) for part in _PARTS)


HARMONIC = Metric(
    name="S",
    title="Score",
    summary="Harmonic mean of ES, PS and NS.",
    better="higher",
    reads=frozenset().union(*(part.reads for part in _PARTS)),
    overall=overall,
    of_values=of_values,
    parts=tuple(part.name for part in _PARTS),
    needs=Need("target_old, paraphrases and neighbors", _measurable),
    checked_on="a sample",
)
