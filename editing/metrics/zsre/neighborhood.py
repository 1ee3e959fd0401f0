"""zsRE_neighborhood: how many tokens of an unrelated prompt's own answer would be said?

What ROME and MEMIT print as specificity on zsRE: against the answer itself, not against what the base said.
"""

from editing.metrics.metric import Metric, Need, mean_or_none, mean_over_facts, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """The mean over this fact's neighbors that have an answer; None without any."""
    return mean_or_none([reading.old.token_accuracy for reading in fact.neighbors if reading.old is not None])


ZSRE_NEIGHBORHOOD = Metric(
    name="zsRE_neighborhood",
    title="Token accuracy of neighbors",
    summary="Mean over facts of the share of the neighbors' answer tokens that are the argmax, teacher-forced.",
    better="near base",
    reads=frozenset({Reading.NEIGHBORS}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need(
        "neighbors with their target",
        some_fact(lambda fact: any(neighbor.target is not None for neighbor in fact.neighbors)),
    ),
)
