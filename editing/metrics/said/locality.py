"""locality: is everything else said as before?"""

from editing.metrics.metric import Metric, Need, mean_over_facts, share, some_fact
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of this fact's locality prompts whose 16 greedy tokens read as the base's; None without any."""
    return share([continuation.now == continuation.before for continuation in fact.locality])


LOCALITY = Metric(
    name="locality",
    title="Locality",
    summary="Mean over facts of the share of locality prompts whose greedy text of 16 tokens equals the base's.",
    better="higher",
    reads=frozenset({Reading.GREEDY_LOCALITY}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    needs=Need("locality prompts", some_fact(lambda fact: bool(fact.locality))),
)
