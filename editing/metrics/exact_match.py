"""EM: would the model say the new target, token by token?"""

from editing.metrics.metric import Metric, mean_over_facts
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """1 where every token of the new target is the argmax under teacher forcing, else 0."""
    return None if fact.prompt is None else float(fact.prompt.new.said)


EXACT_MATCH = Metric(
    name="EM",
    title="Exact match",
    summary="Share of facts whose every target token is the argmax under teacher forcing.",
    better="higher",
    reads=frozenset({Reading.PROMPT}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    checked_on="every fact",
)
