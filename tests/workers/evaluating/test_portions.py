"""Evaluations are measured in portions: kept as they come, gone on from, and interrupted by what waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from api_schemas.facts import Fact
from editing.errors import EditInterrupted
from editing.metrics.evaluation import evaluate as measure
from store.clock import now
from store.schema.tables import TaskRow
from store.work import evaluations, tasks
from tests.conftest import BOTH_DATABASES
from tests.support.saved_models import facts
from tests.workers.conftest import During, Place
from tests.workers.evaluating.test_evaluate import evaluate, evaluation, rows_of
from workers import jobs
from workers.evaluating.place import STARVED_SECONDS, TURN_SECONDS
from workers.evaluating.portions import LONGEST_PAUSE_SECONDS, LOOK_SECONDS, Pace, Patience
from workers.generation.traffic import Traffic
from workers.tasks.lease import Lease

pytestmark = BOTH_DATABASES

EVERY = ["ES", "S", "EM", "GA", "GE", "drift"]


class Died(BaseException):
    """Nobody catches it, as nobody catches a SIGKILL."""


class Counting(During):
    """Keeps which facts were measured."""

    def __init__(self, place: Place, *calls: Callable[[], object]) -> None:
        super().__init__(place.loaded, *calls)
        self.seen: list[str] = []

    def evaluate(self, matrices: Any, facts: Sequence[Fact], *arguments: Any, **options: Any) -> Any:
        found = super().evaluate(matrices, facts, *arguments, **options)
        self.seen += [fact.subject for fact in facts]
        return found


@pytest.fixture
def by_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of two facts, whatever they take, each written at once and given up by nobody."""
    monkeypatch.setattr("workers.evaluating.evaluate.Pace", lambda least: Pace(1, 2))
    monkeypatch.setattr("workers.evaluating.portions.Pace.took", lambda self, size, seconds, aim: None)
    monkeypatch.setattr("workers.evaluating.portions.LOOK_SECONDS", 3600.0)
    monkeypatch.setattr("workers.evaluating.place.KEEP_SECONDS", 0.0)


def nothing() -> None:
    """Nothing happens."""


@pytest.mark.usefixtures("by_twos")
def test_portions_measure_what_all_facts_at_once_do(place: Place) -> None:
    """GE's texts too: each has a seed of its own."""
    of = facts(5)
    of[3]["generation_prompts"] = ["Ada Lovelace lives", "Ada Lovelace works"]
    asked = evaluate(place, 0, facts=of, metrics=EVERY)
    place.run()
    found = evaluation(place, asked)
    assert (found.state, found.error) == ("succeeded", None)
    model = place.loaded.model
    whole = measure(
        model.decoder,
        model.backend_tokenizer,
        {},
        [Fact.model_validate(one) for one in of],
        EVERY,
        held_out=place.loaded.statistics.held_out(),
    )
    assert found.metrics is not None
    for name, measured in whole.metrics.items():
        assert found.metrics["tiny@v0"][name] == pytest.approx(measured.model_dump(), abs=1e-9), name
    texts = [row["tiny@v0"]["texts"] for row in rows_of(place, asked)]
    assert texts == [list(one.texts) for one in whole.observations.facts]
    assert [len(one) for one in texts] == [0, 0, 0, 2, 0]


@pytest.mark.usefixtures("by_twos")
def test_the_heir_of_a_dead_worker_goes_on_from_the_portion_that_it_left(place: Place) -> None:
    def die() -> None:
        raise Died

    place.worker("dying", measuring=Counting(place, nothing, nothing, die))
    asked = evaluate(place, 0, facts=facts(6))
    (task,) = place.ready()
    with pytest.raises(Died):
        jobs.run(task.id)
    assert [row["fact"] for row in rows_of(place, asked)] == [0, 1, 2, 3]
    with place.database.writing() as session:
        session.execute(update(TaskRow).values(lease_expires_at=now() - timedelta(seconds=1)))
        for dead in tasks.expired(session):
            tasks.release(session, dead)

    heir = Counting(place)
    place.worker("heir", measuring=heir)
    place.run()
    assert evaluation(place, asked).state == "succeeded"
    assert heir.seen == [one["subject"] for one in facts(6)[4:]]
    assert [row["fact"] for row in rows_of(place, asked)] == list(range(6))


@pytest.mark.usefixtures("by_twos")
def test_between_two_portions_a_batch_that_waits_gets_its_turn(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.evaluating.place.KEEP_SECONDS", 3600.0)
    asked = evaluate(place, 0, facts=facts(6))
    (task,) = place.ready()
    measuring = Counting(place, lambda: (place.accept(facts(1)), place.ready()))
    place.worker("one", measuring=measuring)
    jobs.run(task.id)
    kept = place.task(task.id)
    assert (kept.state, kept.attempts, evaluation(place, asked).state) == ("pending", 0, "running")
    assert len(measuring.seen) == 2
    assert kept.queue == "values:tiny", "behind the shards that wait, not before them again"
    assert [row["fact"] for row in rows_of(place, asked)] == [0, 1], "what was measured is kept"
    assert (evaluation(place, asked).progress["done"], kept.payload["facts"]) == (2, 2)
    done = place.run()
    assert {"plan", "values", "solve"} <= set(done)
    assert (evaluation(place, asked).state, place.latest()) == ("succeeded", 1)
    assert evaluation(place, asked).progress["done"] == 6


@pytest.mark.usefixtures("by_twos")
def test_another_evaluation_waits_for_the_end_of_a_turn(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = evaluate(place, 0, facts=facts(6))
    (task,) = place.ready()
    evaluate(place, 0, facts=facts(2))
    jobs.run(task.id)
    assert evaluation(place, asked).state == "succeeded"
    again = evaluate(place, 0, facts=facts(6))
    monkeypatch.setattr("workers.evaluating.place.TURN_SECONDS", 0.0)
    jobs.run(next(one.id for one in place.ready() if one.evaluation_id == again))
    assert evaluation(place, again).state == "queued"


@pytest.mark.usefixtures("by_twos")
def test_only_facts_of_the_portion_are_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    facts_of = evaluations.facts

    def noted(session: Any, evaluation_id: str, first: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
        found = facts_of(session, evaluation_id, first, stop)
        read.append((first, len(found)))
        return found

    monkeypatch.setattr(evaluations, "facts", noted)
    evaluate(place, 0, facts=facts(5))
    place.run()
    assert read == [(0, 2), (2, 2), (4, 1)]


def test_the_text_of_drift_is_read_in_portions_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = len(place.loaded.statistics.held_out())
    monkeypatch.setattr("workers.evaluating.held_out.Pace", lambda: Pace(1, texts // 2))
    monkeypatch.setattr("workers.evaluating.portions.Pace.took", lambda self, size, seconds, aim: None)
    monkeypatch.setattr("workers.evaluating.place.TURN_SECONDS", 0.0)
    place.edit(facts(2))
    asked = evaluate(place, 1, facts=[], metrics=["drift"])
    (task,) = place.ready()
    place.loaded.measuring._held_out = None
    place.run()
    assert evaluation(place, asked).state == "succeeded"
    read = place.task(task.id).payload["held_out"]
    assert {number: len(of["tokens"]) for number, of in read.items()} == {"0": texts, "1": texts}
    found = evaluation(place, asked)
    place.loaded.measuring._held_out = None
    whole = place.loaded.measuring.measure(place.cache().get(1), [], ["drift"])["drift"]
    assert found.metrics is not None
    assert found.metrics["tiny@v1"]["drift"] == pytest.approx(whole.model_dump(), rel=1e-6)


def test_a_portion_is_given_up_for_a_batch_and_for_no_evaluation(place: Place) -> None:
    present = [0.0]
    evaluate(place, 0)
    (waiting,) = place.ready()
    with place.database.writing() as session:
        task = tasks.acquire(session, waiting.id, "worker", 30)
    assert task is not None
    evaluate(place, 0)
    place.ready()
    with Lease(place.database, task, 30, threading.Event()) as lease:
        patience = Patience(lease, Traffic(), clock=lambda: present[0])
        insisting = Patience(lease, Traffic(), insists=True, clock=lambda: present[0])
        present[0] = 2 * LOOK_SECONDS
        assert not patience(), "another evaluation is not urgent"
        place.accept(facts(1))
        place.ready()
        assert not patience(), "it looked a moment ago"
        present[0] *= 2
        assert not insisting()
        assert patience()
        assert lease.reason == "yielding"
        with pytest.raises(EditInterrupted):
            lease.give_way()


def test_a_portion_lets_completions_pass_for_as_long_as_it_worked(place: Place) -> None:
    evaluate(place, 0)
    (waiting,) = place.ready()
    with place.database.writing() as session:
        task = tasks.acquire(session, waiting.id, "worker", 30)
    assert task is not None
    asked: list[float] = []

    class Noting(Traffic):
        def let_pass(self, seconds: float) -> None:
            asked.append(seconds)
            present[0] += seconds

    present = [0.0]
    with Lease(place.database, task, 30, threading.Event()) as lease:
        patience = Patience(lease, Noting(), clock=lambda: present[0])
        for worked in (0.05, 0.1, 60.0):
            present[0] += worked
            assert not patience()
    assert asked == pytest.approx([0.05, 0.1, LONGEST_PAUSE_SECONDS])
    assert patience.seconds == pytest.approx(60.15)


def test_portions_that_were_given_up_become_smaller(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.evaluating.portions.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("workers.evaluating.evaluate.Pace", lambda least: Pace(1, 4))
    asked = evaluate(place, 0, facts=facts(8), metrics=["ES"])
    (task,) = place.ready()

    def accept() -> None:
        place.accept(facts(1))
        place.ready()

    class Asked(Counting):
        """Keeps of how many facts each portion is, when it begins."""

        def __init__(self, place: Place, *calls: Callable[[], object]) -> None:
            super().__init__(place, *calls)
            self.sizes: list[int] = []

        def evaluate(self, matrices: Any, facts: Sequence[Fact], *arguments: Any, **options: Any) -> Any:
            self.sizes.append(len(facts))
            return super().evaluate(matrices, facts, *arguments, **options)

    measuring = Asked(place, accept)
    place.worker("one", measuring=measuring)
    jobs.run(task.id)
    assert (place.task(task.id).state, place.task(task.id).payload["given_up"]) == ("pending", 1)
    assert rows_of(place, asked) == []
    place.run()
    assert evaluation(place, asked).state == "succeeded"
    assert measuring.sizes[:2] == [4, 2]
    assert "given_up" not in place.task(task.id).payload


def test_one_that_could_measure_nothing_for_long_measures_whatever_waits(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = evaluate(place, 0, facts=facts(6))
    (task,) = place.ready()
    place.accept(facts(1))
    place.ready()
    jobs.run(task.id)
    assert (evaluation(place, asked).state, rows_of(place, asked)) == ("queued", []), "at once, with nothing loaded"
    since = place.task(task.id).payload["since"]
    assert TURN_SECONDS < STARVED_SECONDS
    monkeypatch.setattr("workers.evaluating.place.time.time", lambda: since + STARVED_SECONDS + 1)
    jobs.run(task.id)
    assert evaluation(place, asked).state == "succeeded"


def test_numbers_that_are_not_finite_are_kept_as_such(place: Place) -> None:
    asked = evaluate(place, 0, facts=facts(2))
    values: dict[str, Mapping[str, float | None]] = {"tiny@v0": {"ES": float("inf"), "PS": None, "NS": 0.5}}
    readings = {"tiny@v0": {"metrics": {"ES": float("nan")}, "texts": ["so"]}}
    with place.database.writing() as session:
        evaluations.keep(session, asked, [evaluations.MeasuredFact(0, values, readings)])
    with place.database.reading() as session:
        assert evaluations.values(session, asked) == [values]
        assert evaluations.measured(session, asked) == 1
    assert rows_of(place, asked) == [{"fact": 0, "tiny@v0": {"metrics": {"ES": None}, "texts": ["so"]}}]
