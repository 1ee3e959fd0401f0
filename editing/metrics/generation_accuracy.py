"""GA: does the answer that a user would see begin with the new target?"""

from editing.metrics.metric import Metric, mean_over_facts
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """1 where the greedy text begins with the target, whatever tokens spell it; leading white space does not count."""
    if fact.greedy is None:
        return None
    return float(fact.greedy.lstrip().startswith(fact.fact.target_new.strip()))


GENERATION_ACCURACY = Metric(
    name="GA",
    title="Generation accuracy",
    summary="Share of facts where greedy decoding from the prompt begins with the target.",
    better="higher",
    reads=frozenset({Reading.GREEDY}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
)
