"""portability_ES: is what follows from the fact more probable than what followed from the old one?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, new_over_old, share, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of this fact's portability questions with an old target; None without any."""
    return share([hit for reading in fact.portability if (hit := new_over_old(reading)) is not None])


PORTABILITY_PREFERENCE = Metric(
    name="portability_ES",
    title="Efficacy score of portability",
    summary="Mean over facts of the share of portability questions with P(target) > P(old target).",
    better="higher",
    reads=frozenset({Reading.PORTABILITY}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need(
        "portability questions with their target_old",
        some_fact(lambda fact: any(question.target_old is not None for question in fact.portability)),
    ),
)
