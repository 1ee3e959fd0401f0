"""portability: is what follows from the fact said as well, such as the answer to a question of several hops?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, share, some_fact
from editing.metrics.said.wording import says_one
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of this fact's portability questions; None without any.

    The rule is containing: the greedy text has the question's target or an alias of it as words within 32 tokens, and
    not its old target before that.
    """
    questions = fact.fact.portability
    if not fact.greedy_portability:
        return None
    return share(
        [
            says_one(text, [question.target, *question.aliases], question.target_old)
            for text, question in zip(fact.greedy_portability, questions, strict=True)
        ]
    )


PORTABILITY = Metric(
    name="portability",
    title="Portability",
    summary=(
        "Mean over facts of the share of portability questions whose greedy answer contains their target or an alias "
        "as words within 32 tokens, and not their old target before it."
    ),
    better="higher",
    reads=frozenset({Reading.GREEDY_PORTABILITY}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need("portability questions", some_fact(lambda fact: bool(fact.portability))),
)
