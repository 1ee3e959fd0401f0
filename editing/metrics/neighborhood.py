"""NS: do other subjects keep their own answers?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, share, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of this fact's neighbors with P(own answer) > P(new target); None without neighbors that have an answer."""
    hits = [
        reading.old.log_probability > reading.new.log_probability
        for reading in fact.neighbors
        if reading.old is not None
    ]
    return share(hits)


NEIGHBORHOOD = Metric(
    name="NS",
    title="Neighborhood score",
    summary="Mean over facts of the share of neighbors' prompts with P(own answer) > P(new target) still.",
    better="higher",
    reads=frozenset({Reading.NEIGHBORS}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need(
        "neighbors with their target",
        some_fact(lambda fact: any(neighbor.target is not None for neighbor in fact.neighbors)),
    ),
    checked_on="a sample",
)
