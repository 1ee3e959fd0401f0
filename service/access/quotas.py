"""How much a key may edit and measure in a day, and have under way: counted in SQL, where more is accepted."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from service.access.caller import Caller
from service.errors import LimitReachedError
from store.clock import now
from store.work import quotas

DAY: Final = timedelta(hours=24)
_RETRY_SECONDS: Final = 30


def check_quotas(session: Session, caller: Caller, facts: int, what: str = "batch") -> None:
    """Whether the caller may have a further batch, evaluation, export or statistic (`what`) of `facts` facts.

    A fact that is measured counts like one that is edited. There are 0 where facts are taken out (a revert), and in an
    export and a statistic.

    Raises LimitReachedError. Call it where writers take turns.
    """
    most = caller.limits.open_batches
    if most and quotas.unfinished(session, caller.id) >= most:
        raise LimitReachedError(
            "batch_limit",
            f"this API key may have {most} batches waiting or running at a time, evaluations, exports and "
            "statistics among them",
            _RETRY_SECONDS,
        )
    most = caller.limits.facts_per_day
    if most and facts:
        _check_facts(session, caller, facts, most, what)


def _check_facts(session: Session, caller: Caller, facts: int, most: int, what: str) -> None:
    if facts > most:
        raise LimitReachedError(
            "facts_limit",
            f"the {what} has {facts} facts, and this API key may edit or measure {most} in 24 hours: send fewer",
            int(DAY.total_seconds()),
        )
    moment = now()
    recent = quotas.facts_since(session, caller.id, moment - DAY)
    had = sum(count for _, count in recent)
    excess = had + facts - most
    if excess <= 0:
        return
    for created_at, count in recent:
        excess -= count
        if excess <= 0:
            seconds = math.ceil((created_at + DAY - moment).total_seconds())
            raise LimitReachedError(
                "facts_limit",
                f"this API key may edit {most} facts in 24 hours; it had {had}, and the {what} has {facts}; measured "
                "ones count too",
                max(1, seconds),
            )
