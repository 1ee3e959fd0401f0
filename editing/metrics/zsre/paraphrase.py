"""zsRE_paraphrase: how many of the new target's tokens would be said at the paraphrases?"""

from editing.metrics.metric import Metric, Need, mean_or_none, mean_over_facts, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """The mean over this fact's paraphrases; None without any."""
    return mean_or_none([reading.new.token_accuracy for reading in fact.paraphrases])


ZSRE_PARAPHRASE = Metric(
    name="zsRE_paraphrase",
    title="Token accuracy, paraphrased",
    summary="The same at the facts' paraphrases.",
    better="higher",
    reads=frozenset({Reading.PARAPHRASES}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need("paraphrases", some_fact(lambda fact: bool(fact.paraphrases))),
)
