"""S: efficacy, paraphrase and neighborhood in one number, in which none can make up for another."""

from collections.abc import Sequence

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics.efficacy import EFFICACY
from editing.metrics.metric import Metric, Need
from editing.metrics.neighborhood import NEIGHBORHOOD
from editing.metrics.paraphrase import PARAPHRASE
from editing.readings.observations import Observations

_PARTS = (EFFICACY, PARAPHRASE, NEIGHBORHOOD)


def overall(observed: Observations) -> Measurement:
    """Harmonic mean of ES, PS and NS; `n` is the smallest of theirs, and with n = 0 there is no value."""
    parts = [metric.overall(observed) for metric in _PARTS]
    n = min(part.n for part in parts)
    values = [part.value for part in parts if part.value is not None]
    if n == 0 or len(values) < len(_PARTS):
        return Measurement(value=None, n=0)
    if min(values) == 0:
        return Measurement(value=0.0, n=n)
    return Measurement(value=len(values) / sum(1 / value for value in values), n=n)


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
