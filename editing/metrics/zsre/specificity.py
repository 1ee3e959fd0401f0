"""zsRE_specificity: does an unrelated prompt get the tokens that the base gives it?

MEND's comparison (arXiv 2110.11309), with the neighbor's own answer forced: what the base got wrong must stay as wrong.
"""

from editing.metrics.metric import Metric, Need, mean_or_none, mean_over_facts, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """The mean over this fact's neighbors with an answer of the share of its tokens with the base's argmax."""
    pairs = zip(fact.neighbors, fact.neighbors_before, strict=True)
    return mean_or_none(
        [
            _alike(now.old.predicted, before.old.predicted)
            for now, before in pairs
            if now.old is not None and before.old is not None
        ]
    )


def _alike(now: tuple[int, ...], before: tuple[int, ...]) -> float:
    return sum(one == other for one, other in zip(now, before, strict=True)) / len(before)


ZSRE_SPECIFICITY = Metric(
    name="zsRE_specificity",
    title="Token specificity",
    summary=(
        "Mean over facts of the share of the neighbors' answer tokens whose argmax is the base's still, teacher-forced."
    ),
    better="higher",
    reads=frozenset({Reading.NEIGHBORS, Reading.NEIGHBORS_BEFORE}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need(
        "neighbors with their target",
        some_fact(lambda fact: any(neighbor.target is not None for neighbor in fact.neighbors)),
    ),
)
