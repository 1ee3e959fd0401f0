"""Deliveries from outbox to end: which are due, who sends them, and what an answer or its absence means.

Within a webhook and model one goes after the other, in the order of what happened: while the first is tried again,
those behind it wait. One sender at a time holds a webhook; where it dies its claim runs out and another sends again,
under the same id.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Subquery, delete, func, or_, select
from sqlalchemy.orm import Session

from api_schemas.webhooks import TEST_EVENT, WebhookState
from store.schema.webhook_tables import WebhookDeliveryRow, WebhookMessageRow, WebhookRow
from store.webhooks import registrations

PRUNED_AT_ONCE: Final = 2000
_GONE: Final = 410
"""By which a receiver says that it wants no more."""


@dataclass(frozen=True)
class RetryPolicy:
    """Pauses grow from `first` by `factor` up to `longest`. A receiver that only failed for `pause_after` is paused; a
    delivery that failed for `give_up_after`, while others reached it, is given up."""

    first: timedelta = timedelta(seconds=5)
    factor: float = 2.0
    longest: timedelta = timedelta(hours=1)
    pause_after: timedelta = timedelta(hours=24)
    give_up_after: timedelta = timedelta(hours=72)

    def delay(self, attempts: int, asked: timedelta | None = None) -> timedelta:
        """Before the attempt after `attempts`; at least what the receiver `asked` for, within bounds."""
        # 2^30 times any pause is beyond the longest.
        grown = self.first * self.factor ** min(attempts - 1, 30)
        return min(max(grown, asked or grown), self.longest)


@dataclass(frozen=True)
class Claim:
    """A sender's hold on a webhook."""

    webhook_id: str
    token: int


@dataclass(frozen=True)
class Attempt:
    """What is to be sent where. `secrets`: newest first."""

    seq: int
    url: str
    secrets: list[str]
    message: str
    type: str
    data: dict[str, Any]
    happened_at: datetime


@dataclass(frozen=True)
class Outcome:
    """`status` of the answer, None without one; `error` None where it was taken."""

    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None


def due(session: Session, moment: datetime) -> list[str]:
    """Webhooks that nobody holds and that something is to be sent to now."""
    heads = _heads()
    query = (
        select(WebhookRow.id)
        .join(heads, heads.c.webhook_id == WebhookRow.id)
        .join(WebhookDeliveryRow, WebhookDeliveryRow.seq == heads.c.seq)
        .where(
            WebhookDeliveryRow.next_attempt_at <= moment,
            or_(WebhookRow.paused.is_(False), WebhookDeliveryRow.type == TEST_EVENT),
            or_(WebhookRow.claimed_until.is_(None), WebhookRow.claimed_until <= moment),
        )
    )
    return sorted(set(session.scalars(query)))


def claim(session: Session, webhook_id: str, moment: datetime, hold: timedelta) -> Claim | None:
    """None where another sender was faster, or it was deleted."""
    row = session.get(WebhookRow, webhook_id)
    if row is None or (row.claimed_until is not None and row.claimed_until > moment):
        return None
    row.token += 1
    row.claimed_until = moment + hold
    return Claim(row.id, row.token)


def release(session: Session, held: Claim) -> None:
    row = _held(session, held)
    if row is not None:
        row.claimed_until = None


def next_attempt(session: Session, held: Claim, moment: datetime) -> Attempt | None:
    """The earliest that is due, None where nothing is, or another sender holds the webhook now."""
    row = _held(session, held)
    if row is None:
        return None
    heads = _heads()
    query = (
        select(WebhookDeliveryRow, WebhookMessageRow)
        .join(heads, heads.c.seq == WebhookDeliveryRow.seq)
        .join(WebhookMessageRow, WebhookMessageRow.id == WebhookDeliveryRow.message_id)
        .where(WebhookDeliveryRow.webhook_id == row.id, WebhookDeliveryRow.next_attempt_at <= moment)
    )
    if row.paused:
        query = query.where(WebhookDeliveryRow.type == TEST_EVENT)
    found = session.execute(query.order_by(WebhookDeliveryRow.seq).limit(1)).first()
    if found is None:
        return None
    delivery, message = found
    secrets = registrations.signing_secrets(row, moment)
    return Attempt(delivery.seq, row.url, secrets, message.id, message.type, message.data, message.created_at)


def conclude(
    session: Session,
    held: Claim,
    attempt: Attempt,
    outcome: Outcome,
    moment: datetime,
    hold: timedelta,
    policy: RetryPolicy,
) -> str:
    """Write down what came of an attempt, and hold the webhook on; the delivery's state, "gone" where it was deleted.

    What a sender that lost its hold says still counts where the receiver took it: it need not be sent again.
    """
    row, delivery = session.get(WebhookRow, held.webhook_id), session.get(WebhookDeliveryRow, attempt.seq)
    if row is None or delivery is None:
        return "gone"
    holds = row.token == held.token
    if holds:
        row.claimed_until = moment + hold
    if delivery.state != "pending" or (outcome.error is not None and not holds):
        return delivery.state
    delivery.attempts += 1
    delivery.status, delivery.error = outcome.status, outcome.error
    delivery.first_attempt_at = delivery.first_attempt_at or moment
    if outcome.error is None:
        delivery.state, delivery.ended_at = "delivered", moment
        row.last_success_at = moment
        row.failures, row.failing_since, row.last_error = 0, None, None
    else:
        _fail(session, row, delivery, outcome, moment, policy)
    return delivery.state


def _fail(
    session: Session,
    row: WebhookRow,
    delivery: WebhookDeliveryRow,
    outcome: Outcome,
    moment: datetime,
    policy: RetryPolicy,
) -> None:
    row.last_error = outcome.error
    if delivery.type == TEST_EVENT:  # somebody is looking at it: what it tells they know now
        delivery.state, delivery.ended_at = "given_up", moment
        return
    row.failures += 1
    row.failing_since = row.failing_since or moment
    delivery.next_attempt_at = moment + policy.delay(delivery.attempts, outcome.retry_after)
    if outcome.status == _GONE:
        registrations.pause(session, row, "the receiver answered 410 Gone")
    elif moment - row.failing_since >= policy.pause_after:
        since = row.failing_since.isoformat(timespec="minutes")
        registrations.pause(session, row, f"no attempt has succeeded since {since}")
    elif moment - (delivery.first_attempt_at or moment) >= policy.give_up_after:
        delivery.state, delivery.ended_at = "given_up", moment


def page(
    session: Session, webhook_id: str, before: int | None, limit: int, state: str | None = None
) -> list[tuple[WebhookDeliveryRow, WebhookMessageRow]]:
    """The log, newest first; one more than `limit` if there are others."""
    query = select(WebhookDeliveryRow, WebhookMessageRow).join(
        WebhookMessageRow, WebhookMessageRow.id == WebhookDeliveryRow.message_id
    )
    query = query.where(WebhookDeliveryRow.webhook_id == webhook_id)
    if state is not None:
        query = query.where(WebhookDeliveryRow.state == state)
    if before is not None:
        query = query.where(WebhookDeliveryRow.seq < before)
    found = session.execute(query.order_by(WebhookDeliveryRow.seq.desc()).limit(limit + 1))
    return [(delivery, message) for delivery, message in found]


def has_older(session: Session, before: datetime) -> bool:
    """Whether `prune` would find anything."""
    oldest = session.scalar(select(func.min(WebhookMessageRow.created_at)))
    return oldest is not None and oldest < before


def prune(session: Session, before: datetime) -> int:
    """Delete the oldest entries from before that moment, waiting ones too, so many that others get their turn."""
    old = select(WebhookDeliveryRow.seq).where(WebhookDeliveryRow.created_at < before)
    gone = list(session.scalars(old.order_by(WebhookDeliveryRow.seq).limit(PRUNED_AT_ONCE)))
    if gone:
        session.execute(delete(WebhookDeliveryRow).where(WebhookDeliveryRow.seq.in_(gone)))
    told = select(WebhookDeliveryRow.message_id)
    unneeded = select(WebhookMessageRow.id).where(
        WebhookMessageRow.created_at < before, WebhookMessageRow.id.not_in(told)
    )
    messages = list(session.scalars(unneeded.limit(PRUNED_AT_ONCE)))
    if messages:
        session.execute(delete(WebhookMessageRow).where(WebhookMessageRow.id.in_(messages)))
    return len(gone) + len(messages)


def webhooks_by_state(session: Session) -> dict[str, int]:
    """How many are active, failing and paused."""
    found = dict.fromkeys(("active", "failing", "paused"), 0)
    for paused, failures in session.execute(select(WebhookRow.paused, WebhookRow.failures)):
        found[state_of(paused, failures)] += 1
    return found


def state_of(paused: bool, failures: int) -> WebhookState:
    return "paused" if paused else "failing" if failures else "active"


def waiting_everywhere(session: Session) -> int:
    query = select(func.count()).select_from(WebhookDeliveryRow).where(WebhookDeliveryRow.state == "pending")
    return session.scalar(query) or 0


def _held(session: Session, held: Claim) -> WebhookRow | None:
    row = session.get(WebhookRow, held.webhook_id)
    return row if row is not None and row.token == held.token else None


def _heads() -> Subquery:
    """The first of each webhook and model that is still to be delivered."""
    query = select(WebhookDeliveryRow.webhook_id, func.min(WebhookDeliveryRow.seq).label("seq"))
    return (
        query.where(WebhookDeliveryRow.state == "pending")
        .group_by(WebhookDeliveryRow.webhook_id, WebhookDeliveryRow.lane)
        .subquery()
    )
