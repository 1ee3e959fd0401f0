"""Whether enough held-out text was read to say what a batch did to it: a paired test, looked at after each portion.

Texts are read in one seeded order. Text i of n_i tokens lost d_i nats of its log-likelihood; drift is exp(r) with
r = Σ d / Σ n. Where k of K texts were read, drawn without replacement, r differs from that of all by a standard error

    s² = (1 − k/K) · k/(k − 1) · Σ (d_i − r n_i)² / (Σ n_i)²

(the ratio estimator with its finite population; Cochran, Sampling Techniques, 1977, section 6.4). A limit is decided
once it lies outside r ± t s, t of Student's distribution with k − 1 degrees of freedom and so far out that looking
after each portion does not matter. Where all is read s is 0: a drift near its limit is decided by the whole text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final

from editing.readings.observations import HeldOutReading

CONFIDENCE: Final = 0.999
"""With which each look decides a limit; there are about eight."""
NARROW: Final = 0.02
"""In nats a token: half of a 95% interval at which drift is known well enough to be told, about 2%."""
_TOLD: Final = 0.95
_STEPS: Final = 60


def enough(now: HeldOutReading, pairs: Sequence[tuple[HeldOutReading, float | None]], texts: int) -> bool:
    """Whether the reading `now` of a version needs no more of the `texts` that there are.

    Each of `pairs` is the reading of what it is compared with, of the same texts, and the limit on drift against that,
    if there is one. All limits must be decided; and unless one is missed, drift must be known narrowly, for it is kept.
    """
    read = len(now.tokens)
    if read >= texts:
        return True
    narrow, missed = True, False
    for before, limit in pairs:
        lost = lost_texts(before, now)
        if not math.isfinite(math.fsum(lost)):
            return True  # a broken model: nothing could be measured of the rest either
        mean, error = mean_and_error(lost, now.tokens)
        narrow = narrow and error * student_quantile(read - 1, _TOLD) <= NARROW
        if limit is None:
            continue
        room = (math.log(limit) if limit > 0 else -math.inf) - mean
        if not abs(room) > math.sqrt(1 - read / texts) * error * student_quantile(read - 1, CONFIDENCE):
            return False
        missed = missed or room < 0
    return narrow or missed


def lost_texts(before: HeldOutReading, now: HeldOutReading) -> list[float]:
    """d (texts,): what `now` lost of each text's log-likelihood, in nats."""
    return [was - still for was, still in zip(before.log_likelihoods, now.log_likelihoods, strict=True)]


def mean_and_error(lost: Sequence[float], tokens: Sequence[int]) -> tuple[float, float]:
    """r, and its standard error over texts, infinite for fewer than two; without the finite population."""
    texts, total = len(tokens), sum(tokens)
    if texts < 2 or total == 0:
        return (math.fsum(lost) / total if total else 0.0), math.inf
    mean = math.fsum(lost) / total
    squares = math.fsum((one - mean * n) ** 2 for one, n in zip(lost, tokens, strict=True))
    return mean, math.sqrt(texts / (texts - 1) * squares) / total


@functools.cache
def student_quantile(degrees: int, probability: float) -> float:
    """t with P(|T| ≤ t) = `probability` for Student's T; infinite without a degree of freedom."""
    if degrees < 1:
        return math.inf
    low, high = 0.0, 1.0
    while student_probability(degrees, high) < probability:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_probability(degrees, middle) < probability else (low, middle)
    return high


def student_probability(degrees: int, t: float) -> float:
    """P(|T| ≤ t) of Student's T, by its finite series (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, cosine) if odd else (1.0, 1.0)
    if degrees == 1:
        total = 0.0
    for n in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (n - 1) / n
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
