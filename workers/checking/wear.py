"""Tells of a line that wears, before its facts are lost: from the measurements beside its newest versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api_schemas.metrics import LINE_WORN, BatchWarning, RetainedMetrics

LEAST_RETAINED: Final = 0.9
"""EM of earlier facts below which a line is worn."""
MOST_FALL: Final = 0.05
"""And how far it may have fallen in the last versions, `WITHIN` of them, each against its own parent."""
WITHIN: Final = 8
MOST_USED: Final = 0.8
"""The share of its budget that a line may use without being worn."""


def wear_warning(
    model: str,
    retained: RetainedMetrics | None,
    drift: float | None,
    budget: Mapping[str, float],
    earlier: Sequence[Mapping[str, Any]],
) -> BatchWarning | None:
    """What tells that the line is worn with a version measured so; None where it is not.

    `budget` is that of the batch, `earlier` the metrics of the versions before it, newest first. Every check draws its
    own sample, so that a fall is what each lost on its own facts, added up: other samples differ without any wear.
    """
    signs: list[str] = []
    measured = None if retained is None else retained.model_dump(mode="json")
    newest = _em(measured, "after")
    fall = sum(_fall(one) for one in [measured, *(metrics.get("retained") for metrics in earlier[: WITHIN - 1])])
    if newest is not None and newest < LEAST_RETAINED:
        signs.append(f"{newest:.0%} of the sampled earlier facts are still said, fewer than {LEAST_RETAINED:.0%}")
    if newest is not None and fall >= MOST_FALL - 1e-9:
        signs.append(f"EM of earlier facts fell by {fall:.3f} within the last {min(len(earlier) + 1, WITHIN)} versions")
    used = used_share(drift, budget)
    if used is not None and used > MOST_USED:
        signs.append(f"{used:.0%} of the budget of drift ({budget['drift']:g}) is used")
    if not signs:
        return None
    remedy = f"consolidate the line (POST /v1/models/{model}/versions/…/consolidate): all its facts solved anew at once"
    return BatchWarning(code=LINE_WORN, detail=f"the line wears: {'; '.join(signs)}. Remedy: {remedy}", facts=[])


def used_share(drift: float | None, budget: Mapping[str, float]) -> float | None:
    """How much of its budget a line has used: 0 at the base's perplexity, 1 at the budget. None without a budget."""
    limit = budget.get("drift")
    if drift is None or limit is None:
        return None
    used = max(drift - 1, 0.0)
    if limit <= 1:
        return 0.0 if used == 0 else 1.0
    return used / (limit - 1)


def _em(retained: Mapping[str, Any] | None, when: str) -> float | None:
    value: float | None = ((retained or {}).get(when) or {}).get("EM", {}).get("value")
    return value


def _fall(retained: Mapping[str, Any] | None) -> float:
    was, now = _em(retained, "before"), _em(retained, "after")
    return 0.0 if was is None or now is None else was - now
