"""What those who follow batches are told: how far each is, and its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from store.schema.tables import BatchRow, EventRow

_AT_ONCE: Final = 200
"""Batches in one statement: a database takes only so many parameters."""


@dataclass(frozen=True)
class BatchNews:
    """How far a batch is, and those of its events that were asked for, in order."""

    state: str
    progress: dict[str, Any]
    events: list[EventRow]

    @property
    def is_all(self) -> bool:
        """Whether nothing will follow."""
        return self.state in FINAL_STATES


def news(session: Session, after: Mapping[str, int]) -> dict[str, BatchNews]:
    """By batch, of those that are there: its state and the events after the one that `after` names; 0 is before all.

    Nothing else of their rows is read. Where a batch has ended its last event is there too.
    """
    found: dict[str, BatchNews] = {}
    wanted = list(after)
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        states = select(BatchRow.id, BatchRow.state, BatchRow.progress).where(BatchRow.id.in_(some))
        batches = session.execute(states).all()
        newer = or_(*(and_(EventRow.batch_id == one, EventRow.id > after[one]) for one in some))
        events: dict[str, list[EventRow]] = defaultdict(list)
        for row in session.scalars(select(EventRow).where(newer).order_by(EventRow.id)):
            events[row.batch_id].append(row)
        found |= {batch: BatchNews(state, progress, events[batch]) for batch, state, progress in batches}
    return found
