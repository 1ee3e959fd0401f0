"""PS: does the edit hold when the same thing is asked in other words?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, new_over_old, share, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of this fact's paraphrases; None without paraphrases or without an old target."""
    return share([hit for reading in fact.paraphrases if (hit := new_over_old(reading)) is not None])


PARAPHRASE = Metric(
    name="PS",
    title="Paraphrase score",
    summary="Mean over facts of the share of paraphrases with P(new) > P(old).",
    better="higher",
    reads=frozenset({Reading.PARAPHRASES}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need(
        "paraphrases and target_old", some_fact(lambda fact: fact.target_old is not None and bool(fact.paraphrases))
    ),
    checked_on="a sample",
)
