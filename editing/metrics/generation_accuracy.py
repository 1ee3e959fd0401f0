"""GA: does the answer that a user would see begin with the new target?"""

from editing.metrics.metric import Metric, mean_over_facts
from editing.metrics.said.wording import begins_with_one
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """1 where the greedy text begins with the target or an alias, whatever tokens spell it; white space and case are
    normalised."""
    if fact.greedy is None:
        return None
    return float(begins_with_one(fact.greedy, fact.fact.answers))


GENERATION_ACCURACY = Metric(
    name="GA",
    title="Generation accuracy",
    summary="Share of facts where greedy decoding from the prompt begins with the target or an alias.",
    better="higher",
    reads=frozenset({Reading.GREEDY}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    checked_on="a small sample",
)
