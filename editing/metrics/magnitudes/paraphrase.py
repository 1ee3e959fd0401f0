"""PS_magnitude: by how much is the new target more probable than the old one at the paraphrases?"""

from editing.metrics.magnitudes.difference import difference
from editing.metrics.metric import Metric, mean_or_none, mean_over_facts
from editing.metrics.paraphrase import PARAPHRASE
from editing.readings.observations import FactReading


def of_fact(fact: FactReading) -> float | None:
    """The mean over this fact's paraphrases of P(new) − P(old); None without paraphrases or an old target."""
    found = [difference(reading.new, reading.old) for reading in fact.paraphrases]
    return mean_or_none([value for value in found if value is not None])


PARAPHRASE_MAGNITUDE = Metric(
    name="PS_magnitude",
    title="Paraphrase magnitude",
    summary="Mean over facts of the mean of P(new) − P(old) over paraphrases.",
    better="higher",
    reads=PARAPHRASE.reads,
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=PARAPHRASE.needs,
)
