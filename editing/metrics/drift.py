"""Drift: what the edit did to ordinary text."""

import math

from api_schemas.metrics import Measurement
from editing.metrics.metric import Metric
from editing.readings.observations import Observations, Reading


def overall(observed: Observations) -> Measurement:
    """Perplexity on held-out text over the base's; `n` counts the tokens.

    Where the edited model has no finite perplexity there is no value, though n is not 0: such numbers do not travel.
    """
    if observed.perplexity is None or observed.base_perplexity is None or observed.held_out_tokens == 0:
        return Measurement(value=None, n=0)
    ratio = observed.perplexity / observed.base_perplexity
    return Measurement(value=ratio if math.isfinite(ratio) else None, n=observed.held_out_tokens)


DRIFT = Metric(
    name="drift",
    title="Drift",
    summary="Perplexity on ordinary text, edited over base.",
    better="lower",
    reads=frozenset({Reading.HELD_OUT}),
    overall=overall,
    checked_on="held-out text",
)
