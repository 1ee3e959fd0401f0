"""95% intervals by a seeded bootstrap: how far a mean would move were other facts, or other texts, drawn.

Percentile intervals (Efron and Tibshirani 1993, chapter 13). All statistics here are made of ratios of sums over what
is drawn, so that one resampling of columns of summands serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES: Final = 1000
SEED: Final = 0
"""The same for every metric and version: measurements on the same facts are resampled alike, and differ by what they
measured alone."""
_DRAWS_AT_ONCE: Final = 1_000_000

Interval = tuple[float | None, float | None]
NO_INTERVAL: Final[Interval] = (None, None)


def interval_of_mean(values: Sequence[float]) -> Interval:
    """Of the mean of `values`, one for each fact; none for no values, or where one is not finite."""
    return interval([(value, 1.0) for value in values], lambda sums: sums[:, 0] / sums[:, 1])


def interval(
    summands: Sequence[Sequence[float]], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Interval:
    """Of `statistic`, which maps sums over the drawn rows of `summands` (resamples, columns) to values (resamples,).

    Rows are drawn with replacement, as many as there are. Resamples without a finite value are left out; there is no
    interval where none is left.
    """
    import numpy as np  # here: the front end reads the table of metrics, and never computes one

    columns = np.asarray(summands, dtype=np.float64)
    if columns.shape[0] == 0 or not np.isfinite(columns).all():
        return NO_INTERVAL
    number = columns.shape[0]
    generator = np.random.default_rng(SEED)
    sums = np.empty((RESAMPLES, columns.shape[1]))
    at_once = max(1, _DRAWS_AT_ONCE // number)
    for first in range(0, RESAMPLES, at_once):
        drawn = generator.integers(0, number, size=(min(at_once, RESAMPLES - first), number))
        sums[first : first + at_once] = columns[drawn].sum(1)
    with np.errstate(all="ignore"):
        values = statistic(sums)
    values = values[np.isfinite(values)]
    if values.shape[0] == 0:
        return NO_INTERVAL
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return (low, high) if math.isfinite(low) and math.isfinite(high) else NO_INTERVAL
