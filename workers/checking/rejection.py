"""Says why a checked batch is not published, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api_schemas.edits import BUDGET_EXCEEDED
from api_schemas.metrics import BatchWarning
from store.schema.tables import BatchRow

_REMEDIES: Final = {
    "edit": "fewer facts at once, other settings or thresholds",
    "revert": "other thresholds",
    "consolidation": "other settings or thresholds",
}
"""By the kind of the batch: what to send instead of one that was rejected."""


def rejection(
    batch: BatchRow, breaches: Sequence[str], over_budget: str | None, warnings: Sequence[BatchWarning]
) -> dict[str, Any] | None:
    """The batch's error; None where it may be published.

    A threshold that is missed comes before a budget: other thresholds or facts are then what is needed.
    """
    if not breaches and over_budget is None:
        return None
    told = [f"{one.detail[0].upper()}{one.detail[1:]}" for one in warnings]
    if breaches:
        code, reasons = "below_thresholds", [*breaches]
        remedy = f"Send {_REMEDIES[batch.kind]}"
    else:
        code, reasons = BUDGET_EXCEEDED, [] if over_budget is None else [over_budget]
        remedy = "Consolidate the line, or send the batch again with a greater budget"
    return {
        "code": code,
        "title": f"The {batch.kind} was checked and not published",
        "detail": ". ".join(["; ".join(reasons), *told, remedy]),
        "facts": sorted({fact for one in warnings for fact in one.facts}),
    }
