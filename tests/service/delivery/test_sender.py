"""A thousand deliveries to a receiver that fails half of the time, and what becomes of one that is away for long."""

from __future__ import annotations

import ipaddress
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook

from service.delivery.addresses import AddressGuard
from service.delivery.posting import Poster
from service.delivery.sender import Sender
from service.metrics import ServiceMetrics
from store.access import audit
from store.access.audit import Actor
from store.lineage import models
from store.schema.database import Database
from store.schema.webhook_tables import WebhookDeliveryRow, WebhookRow
from store.webhooks import deliveries, outbox, registrations
from store.webhooks.deliveries import Outcome, RetryPolicy
from tests.service.conftest import wait_until
from tests.service.delivery.receiver import Received, Receiver, receiver

ADA = Actor("cli:ada")
BEGIN = datetime(2026, 11, 30, 12, tzinfo=UTC)
AT_ONCE = RetryPolicy(first=timedelta(0), longest=timedelta(0))


@pytest.fixture
def listening() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def opened(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    with opened.writing() as session:
        for name in ("one", "two"):
            models.register(session, name, name)
    yield opened
    opened.close()


def register(database: Database, url: str, **fields: object) -> WebhookRow:
    about = {"url": url, "events": ["alias.moved"], "model": None, "description": None, **fields}
    with database.writing() as session:
        return registrations.create(session, ADA, **about)  # type: ignore[arg-type]


def happen(database: Database, count: int, model: str = "one") -> None:
    for number in range(count):
        with database.writing() as session:
            outbox.record(session, "alias.moved", model, {"model": model, "number": number})


def states(database: Database) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    with database.reading() as session:
        for state in session.scalars(select(WebhookDeliveryRow.state)):
            found[state] += 1
    return dict(found)


class Clock:
    """Moves when a test says so."""

    def __init__(self) -> None:
        self.moment = BEGIN

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **time: float) -> None:
        self.moment += timedelta(**time)


class Scripted:
    """In place of a network: answers from a script, the last for all that follow, and keeps the ids."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.ids: list[str] = []

    def __call__(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        self.ids.append(headers["webhook-id"])
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


YES, NO = Outcome(204), Outcome(500, "answered 500")


def sender_of(database: Database, post: Callable[..., Outcome], clock: Clock, **fields: object) -> Sender:
    return Sender(database, post, ServiceMetrics(), keep=timedelta(days=30), clock=clock, **fields)  # type: ignore[arg-type]


def test_a_thousand_deliveries_to_a_receiver_that_fails_half_of_the_time(opened: Database, listening: Receiver) -> None:
    """Each event at least once, in order for a model; what comes twice has the same id, and all is signed."""
    chance = random.Random(17)
    failed = 0

    def answer(received: Received) -> int | None:
        nonlocal failed
        if chance.random() < 0.5:
            failed += 1
            return chance.choice([500, 503, None])  # None: it was taken, and the answer is lost
        return 200

    listening.answer = answer
    row = register(opened, listening.url)
    with opened.writing() as session:
        for number in range(1000):
            model = "one" if number % 3 else "two"
            outbox.record(session, "alias.moved", model, {"model": model, "number": number})
    poster = Poster(AddressGuard([ipaddress.ip_network("127.0.0.0/8")]), 30)
    metrics = ServiceMetrics()
    sender = Sender(opened, poster.post, metrics, keep=timedelta(days=30), policy=AT_ONCE)

    attempts = sender.serve(row.id)

    assert states(opened) == {"delivered": 1000}
    assert attempts == len(listening.seen) == 1000 + failed
    assert failed > 800
    verifier, first = Webhook(row.secret), dict[str, int]()
    in_order: dict[str, list[int]] = defaultdict(list)
    for received in listening.seen:
        data = verifier.verify(received.body, received.headers)["data"]
        assert first.setdefault(received.id, data["number"]) == data["number"], "an id is of one event"
        in_order[data["model"]].append(data["number"])
    assert sorted(first.values()) == list(range(1000))
    for numbers in in_order.values():
        assert numbers == sorted(numbers), "no event comes before one that happened before it"
    text = metrics.exposition().decode()
    assert 'emmetd_webhook_attempts_total{outcome="delivered"} 1000.0' in text
    assert f'emmetd_webhook_attempts_total{{outcome="failed"}} {failed}.0' in text


def test_pauses_grow_and_what_is_behind_waits(opened: Database) -> None:
    clock, post = Clock(), Scripted(NO, NO, NO, YES)
    row = register(opened, "https://example.org/")
    happen(opened, 2)
    happen(opened, 1, model="two")
    clock.moment = datetime.now(UTC)
    sender = sender_of(opened, post, clock)

    assert sender.serve(row.id) == 2, "the first of either model"
    assert len(set(post.ids)) == 2
    assert sender.serve(row.id) == 0
    clock.forward(seconds=4.9)
    assert sender.serve(row.id) == 0
    clock.forward(seconds=0.2)
    assert sender.serve(row.id) == 2, "the third fails once more; of two it is taken"
    assert states(opened) == {"delivered": 1, "pending": 2}
    clock.forward(seconds=9.9)
    assert sender.serve(row.id) == 0
    clock.forward(seconds=0.2)
    assert sender.serve(row.id) == 2
    assert states(opened) == {"delivered": 3}
    with opened.reading() as session:
        found = session.get_one(WebhookRow, row.id)
        assert (found.failures, found.failing_since, found.last_error) == (0, None, None)
        assert deliveries.due(session, clock.moment + timedelta(days=1)) == []


def test_policies_grow_up_to_a_bound() -> None:
    policy = RetryPolicy()
    pauses = [policy.delay(attempts).total_seconds() for attempts in range(1, 12)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    assert policy.delay(100_000).total_seconds() == 3600
    assert policy.delay(1, timedelta(seconds=90)).total_seconds() == 90
    assert policy.delay(1, timedelta(days=9)).total_seconds() == 3600


def fail_for(sender: Sender, clock: Clock, row: WebhookRow, **time: float) -> None:
    """Try whenever it is time, for so long."""
    end = clock.moment + timedelta(**time)
    while clock.moment < end:
        sender.serve(row.id)
        clock.forward(minutes=30)


def test_one_that_is_away_for_a_day_is_paused_and_told_of_all_when_it_is_back(opened: Database) -> None:
    clock, post = Clock(), Scripted(NO)
    clock.moment = datetime.now(UTC)
    row = register(opened, "https://example.org/")
    happen(opened, 3)
    sender = sender_of(opened, post, clock)

    fail_for(sender, clock, row, hours=27)  # a day, and the longest pause

    with opened.reading() as session:
        found = session.get_one(WebhookRow, row.id)
        assert found.paused
        assert (found.pause_reason or "").startswith("no attempt has succeeded since ")
        assert found.last_error == "answered 500"
        (entry,) = audit.page(session, None, 9, action="webhook.paused")
        assert (entry.actor, entry.target, entry.details["host"]) == ("webhooks", row.id, "example.org")
    tried = len(post.ids)
    fail_for(sender, clock, row, hours=99)
    assert len(post.ids) == tried, "nothing is sent to it"
    happen(opened, 1)
    post.outcomes = [YES]
    with opened.writing() as session:
        registrations.change(session, ADA, session.get_one(WebhookRow, row.id), {"paused": False})
    assert sender.serve(row.id) == 4
    assert states(opened) == {"delivered": 4}
    assert len(set(post.ids)) == 4


def test_what_one_receiver_never_takes_is_given_up_and_the_next_goes_on(opened: Database) -> None:
    clock = Clock()
    clock.moment = datetime.now(UTC)
    row = register(opened, "https://example.org/")
    happen(opened, 2)
    refused: list[str] = []

    def post(url: str, headers: dict[str, str], body: bytes) -> Outcome:
        refused[:] = refused or [headers["webhook-id"]]
        return NO if headers["webhook-id"] in refused else YES

    sender = sender_of(opened, post, clock)
    for _ in range(80):
        fail_for(sender, clock, row, hours=1)
        happen(opened, 1, model="two")  # which it takes
    assert states(opened)["given_up"] == 1
    sender.serve(row.id)
    with opened.reading() as session:
        found = list(session.scalars(select(WebhookDeliveryRow).where(WebhookDeliveryRow.lane == "one")))
        assert [one.state for one in found] == ["given_up", "delivered"]
        assert not session.get_one(WebhookRow, row.id).paused


def test_a_receiver_that_says_gone_is_told_no_more(opened: Database) -> None:
    post = Scripted(Outcome(410, "answered 410"))
    row = register(opened, "https://example.org/")
    happen(opened, 3)
    assert sender_of(opened, post, Clock()).serve(row.id) == 0, "of what has not happened yet nothing is due"
    clock = Clock()
    clock.moment = datetime.now(UTC)
    assert sender_of(opened, post, clock).serve(row.id) == 1
    with opened.reading() as session:
        assert session.get_one(WebhookRow, row.id).pause_reason == "the receiver answered 410 Gone"


def test_a_sender_that_died_is_replaced_and_one_that_was_slow_changes_little(opened: Database) -> None:
    clock, row = Clock(), register(opened, "https://example.org/")
    happen(opened, 1)
    clock.moment = datetime.now(UTC)
    hold = timedelta(minutes=3)

    def claim() -> deliveries.Claim | None:
        with opened.writing() as session:
            return deliveries.claim(session, row.id, clock.moment, hold)

    first = claim()
    assert first is not None
    assert claim() is None
    with opened.reading() as session:
        attempt = deliveries.next_attempt(session, first, clock.moment)
        assert deliveries.due(session, clock.moment) == []
    assert attempt is not None
    clock.forward(minutes=4)
    second = claim()
    assert second is not None
    with opened.writing() as session:
        late = deliveries.conclude(session, first, attempt, NO, clock.moment, hold, RetryPolicy())
        assert late == "pending"
        assert session.get_one(WebhookRow, row.id).failures == 0
        assert deliveries.next_attempt(session, first, clock.moment) is None
        again = deliveries.next_attempt(session, second, clock.moment)
        assert again is not None
        assert again.message == attempt.message
        taken = deliveries.conclude(session, first, attempt, YES, clock.moment, hold, RetryPolicy())
        assert taken == "delivered"


def test_a_receiver_that_is_slow_holds_up_no_other(opened: Database) -> None:
    """And nobody else: events are written while it is waited for."""
    slow, quick = register(opened, "https://slow.example.org/"), register(opened, "https://quick.example.org/")
    release, told = threading.Event(), threading.Event()

    def post(url: str, headers: dict[str, str], body: bytes) -> Outcome:
        if "slow" in url:
            release.wait(60)
        else:
            told.set()
        return YES

    sender = Sender(opened, post, ServiceMetrics(), keep=timedelta(days=30))
    happen(opened, 1)
    sender.start()
    try:
        assert told.wait(60)
        happen(opened, 3)
        sender.wake()
        wait_until(lambda: delivered(opened, quick) == 4, "the quick one knows all")
        assert delivered(opened, slow) == 0
        release.set()
        wait_until(lambda: delivered(opened, slow) == 4, "so does the slow one then")
    finally:
        release.set()
        sender.stop()


def delivered(database: Database, row: WebhookRow) -> int:
    with database.reading() as session:
        return len(deliveries.page(session, row.id, None, 100, "delivered"))


def test_the_log_goes_with_its_age(opened: Database) -> None:
    row = register(opened, "https://example.org/")
    happen(opened, 3)

    def left(session: Session) -> int:
        return len(deliveries.page(session, row.id, None, 100))

    with opened.writing() as session:
        assert deliveries.prune(session, datetime.now(UTC) - timedelta(days=1)) == 0
        assert left(session) == 3
        later = datetime.now(UTC) + timedelta(days=1)
        assert deliveries.has_older(session, later)
        assert deliveries.prune(session, later) == 6
        assert left(session) == 0
        assert not deliveries.has_older(session, later)
