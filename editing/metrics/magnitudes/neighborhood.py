"""NS_magnitude: by how much are the neighbors' own answers more probable than the new target?"""

from editing.metrics.magnitudes.difference import difference
from editing.metrics.metric import Metric, mean_or_none, mean_over_facts
from editing.metrics.neighborhood import NEIGHBORHOOD
from editing.readings.observations import FactReading


def of_fact(fact: FactReading) -> float | None:
    """The mean over this fact's neighbors of P(own answer) − P(new target); None without neighbors with an answer."""
    found = [difference(reading.old, reading.new) for reading in fact.neighbors]
    return mean_or_none([value for value in found if value is not None])


NEIGHBORHOOD_MAGNITUDE = Metric(
    name="NS_magnitude",
    title="Neighborhood magnitude",
    summary="Mean over facts of the mean of P(own answer) − P(new target) over neighbors' prompts.",
    better="higher",
    reads=NEIGHBORHOOD.reads,
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=NEIGHBORHOOD.needs,
)
