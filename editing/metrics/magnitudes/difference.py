"""The difference of two answers' probabilities."""

from __future__ import annotations

import math

from editing.readings.observations import AnswerScore


def difference(one: AnswerScore | None, other: AnswerScore | None) -> float | None:
    """P(one) − P(other), P = exp of the mean log-probability of an answer's tokens; None where one is not known."""
    if one is None or other is None:
        return None
    return math.exp(one.log_probability) - math.exp(other.log_probability)
