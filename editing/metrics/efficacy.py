"""ES: does the model find the new target more probable than the old one at the edited prompt?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, new_over_old, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """1 or 0; None without an old target."""
    hit = None if fact.prompt is None else new_over_old(fact.prompt)
    return None if hit is None else float(hit)


EFFICACY = Metric(
    name="ES",
    title="Efficacy score",
    summary="Share of facts with P(new) > P(old) at the prompt.",
    better="higher",
    reads=frozenset({Reading.PROMPT}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need("target_old", some_fact(lambda fact: fact.target_old is not None)),
    checked_on="a sample",
)
