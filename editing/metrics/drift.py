"""Drift: what the edit did to ordinary text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from api_schemas.metrics import Measurement
from editing.metrics.intervals import interval
from editing.metrics.metric import Metric
from editing.readings.observations import HeldOutReading, Observations, Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST_EXPONENT = 700.0


def overall(observed: Observations) -> Measurement:
    """Perplexity on held-out text over the base's; `n` counts the tokens."""
    if observed.held_out is None or observed.base_held_out is None:
        return Measurement(value=None, n=0)
    return drift(observed.held_out, observed.base_held_out)


def drift(now: HeldOutReading, before: HeldOutReading) -> Measurement:
    """exp of the mean over tokens of log p_before − log p_now: the ratio of both perplexities on the same texts.

    The interval is paired: texts are drawn, each with what its own tokens gained or lost. Texts rather than tokens,
    since the tokens of a text are not independent. Where a version has no finite perplexity there is no value, though n
    is not 0: such numbers do not travel.
    """
    tokens = sum(now.tokens)
    if tokens == 0:
        return Measurement(value=None, n=0)
    lost = [was - still for was, still in zip(before.log_likelihoods, now.log_likelihoods, strict=True)]
    total = sum(lost)
    mean = total / tokens
    value = math.exp(mean) if math.isfinite(mean) and mean < _LARGEST_EXPONENT else None
    pairs = [pair for pair in zip(lost, map(float, now.tokens), strict=True) if pair[1] > 0]
    low, high = (None, None) if value is None else interval(pairs, _ratio)
    return Measurement(value=value, n=tokens, low=low, high=high)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    ratios: NDArray[np.float64] = np.exp(sums[:, 0] / sums[:, 1])
    return ratios


DRIFT = Metric(
    name="drift",
    title="Drift",
    summary="Perplexity on ordinary text, edited over base.",
    better="lower",
    reads=frozenset({Reading.HELD_OUT}),
    overall=overall,
    checked_on="held-out text",
)
