"""ES_magnitude: by how much is the new target more probable than the old one at the prompt?"""

from editing.metrics.efficacy import EFFICACY
from editing.metrics.magnitudes.difference import difference
from editing.metrics.metric import Metric, mean_over_facts
from editing.readings.observations import FactReading


def of_fact(fact: FactReading) -> float | None:
    """P(new) − P(old); None without an old target."""
    return None if fact.prompt is None else difference(fact.prompt.new, fact.prompt.old)


EFFICACY_MAGNITUDE = Metric(
    name="ES_magnitude",
    title="Efficacy magnitude",
    summary="Mean over facts of P(new) − P(old) at the prompt.",
    better="higher",
    reads=EFFICACY.reads,
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=EFFICACY.needs,
)
