"""S: efficacy, paraphrase and neighborhood in one number, in which none can make up for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics.efficacy import EFFICACY
from editing.metrics.intervals import interval
from editing.metrics.metric import Metric, Need
from editing.metrics.neighborhood import NEIGHBORHOOD
from editing.metrics.paraphrase import PARAPHRASE
from editing.readings.observations import FactReading, Observations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PARTS = (EFFICACY, PARAPHRASE, NEIGHBORHOOD)


def overall(observed: Observations) -> Measurement:
    """Harmonic mean of ES, PS and NS; `n` is the smallest of theirs, and with n = 0 there is no value.

    The interval draws facts, each with all that it has of the three.
    """
    parts = [metric.overall(observed) for metric in _PARTS]
    n = min(part.n for part in parts)
    values = [part.value for part in parts if part.value is not None]
    if n == 0 or len(values) < len(_PARTS):
        return Measurement(value=None, n=0)
    low, high = interval([_summands(fact) for fact in observed.facts], _harmonic)
    value = 0.0 if min(values) == 0 else len(values) / sum(1 / value for value in values)
    return Measurement(value=value, n=n, low=low, high=high)


def _summands(fact: FactReading) -> list[float]:
    """Of each part a fact's value, or 0 where it does not count, and whether it counts."""
    of_parts = [None if part.of_fact is None else part.of_fact(fact) for part in _PARTS]
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
    needs=Need("target_old, paraphrases and neighbors", _measurable),
    checked_on="a sample",
)
