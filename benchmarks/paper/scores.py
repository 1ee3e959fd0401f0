"""Means and intervals over all facts of all draws, from the rows that `benchmarks.paper.reproduce` keeps.

A row is one batch (or, for the unedited model, one draw of facts), with each fact's own values. A score is the mean
over the facts of all draws; its 95% interval draws facts, each with all its occurrences, so that a fact of several
draws is not taken for several facts.
"""

from __future__ import annotations

import statistics as numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from editing.metrics.intervals import interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS: Final = ("ES", "PS", "NS")
"""What S is the harmonic mean of."""
UNEDITED: Final = "unedited"

Row = dict[str, Any]


def summary(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """One entry for each method and batch size, the unedited model first, the rest in the order of the rows.

    Each has every metric's and S's `{"value", "n", "low", "high", "by_draw"}`; those of edits also `drift` and
    `relative_norm`: the mean and the largest over the batches that they were measured on.
    """
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["method"], row["size"]), []).append(row)
    return [_cell(method, size, some, metrics) for (method, size), some in cells.items()]


def _cell(method: str, size: int, rows: list[Row], metrics: Sequence[str]) -> Row:
    draws = sorted({row["draw"] for row in rows})
    of_draws = [[row for row in rows if row["draw"] == draw] for draw in draws]
    cell: Row = {"method": method, "size": size, "draws": len(draws), "batches": len(rows)}
    for name in metrics:
        cell[name] = score(rows, (name,)) | {"by_draw": [score(some, (name,))["value"] for some in of_draws]}
    if set(PARTS) <= set(metrics):
        cell["S"] = score(rows, PARTS) | {"by_draw": [score(some, PARTS)["value"] for some in of_draws]}
    if method != UNEDITED:
        cell["drift"] = _spread(row["drift"] for row in rows)
        cell["relative_norm"] = _spread(max(row["relative_norms"].values()) for row in rows)
    return cell


def score(rows: Iterable[Row], names: Sequence[str]) -> Row:
    """The harmonic mean of the means of `names` (of one: its mean), with how many facts count and its interval."""
    by_fact: dict[str, list[float]] = {}
    for row in rows:
        for fact, values in zip(row["facts"], row["of_facts"], strict=True):
            sums = by_fact.setdefault(fact, [0.0] * (2 * len(names)))
            for place, name in enumerate(names):
                if values[name] is not None:
                    sums[2 * place] += values[name]
                    sums[2 * place + 1] += 1
    totals = [sum(column) for column in zip(*by_fact.values(), strict=True)]
    counts = [int(count) for count in totals[1::2]]
    if not counts or min(counts) == 0:
        return {"value": None, "n": 0, "low": None, "high": None}
    means = [total / count for total, count in zip(totals[0::2], counts, strict=True)]
    value = 0.0 if min(means) == 0 else len(means) / sum(1 / mean for mean in means)
    low, high = interval(list(by_fact.values()), _harmonic)
    return {"value": value, "n": min(counts), "low": low, "high": high}


def _harmonic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From sums (resamples, 2 · parts) of values and counts by turns to harmonic means (resamples,)."""
    means = sums[:, 0::2] / sums[:, 1::2]
    harmonic: NDArray[np.float64] = means.shape[1] / (1 / means).sum(1)
    return harmonic


def _spread(figures: Iterable[float | None]) -> Row:
    known = [figure for figure in figures if figure is not None]
    if not known:
        return {"mean": None, "largest": None, "batches": 0}
    return {"mean": numbers.fmean(known), "largest": max(known), "batches": len(known)}
