"""GA_paraphrase: is the new target said when the same thing is asked in other words?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, share, some_fact
from editing.metrics.said.wording import says_one
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of this fact's paraphrases; None without any.

    The rule is containing, not beginning: a paraphrase need not end where the target fits next. The greedy text after
    it has the target or an alias as words within 32 tokens, and not the old target before that.
    """
    asked = fact.fact
    return share([says_one(text, asked.answers, asked.target_old) for text in fact.greedy_paraphrases])


PARAPHRASE_ACCURACY = Metric(
    name="GA_paraphrase",
    title="Generation accuracy, paraphrased",
    summary=(
        "Mean over facts of the share of paraphrases whose greedy answer contains the target or an alias as words "
        "within 32 tokens, and not the old target before it."
    ),
    better="higher",
    reads=frozenset({Reading.GREEDY_PARAPHRASES}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need("paraphrases", some_fact(lambda fact: bool(fact.paraphrases))),
    checked_on="a small sample",
)
