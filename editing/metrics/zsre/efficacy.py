"""zsRE_efficacy: how many of the new target's tokens would be said at the prompt?"""

from editing.metrics.metric import Metric, mean_over_facts
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of the target's tokens that are the argmax, those before each given."""
    return None if fact.prompt is None else fact.prompt.new.token_accuracy


ZSRE_EFFICACY = Metric(
    name="zsRE_efficacy",
    title="Token accuracy",
    summary="Mean over facts of the share of target tokens that are the argmax at the prompt, teacher-forced.",
    better="higher",
    reads=frozenset({Reading.PROMPT}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
)
