"""A batch whose alias was moved while it ran is carried over to the new parent, or says why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from api_schemas.facts import Fact
from editing.progress import ShouldStop, never
from store.access.audit import Actor
from store.errors import LeaseLostError, VersionNeededError
from store.lineage import aliases
from store.lineage import versions as lineage
from store.schema.tables import BatchRow
from store.upkeep import deletion
from store.work import batches, events
from tests.support.saved_models import facts
from tests.support.summed_deltas import sum_deltas
from tests.workers.conftest import MODEL, SURE, During, Loaded, Place
from workers import jobs
from workers.held_out import HeldOutReadings
from workers.measuring import Measuring
from workers.tasks.rebase import parent_now


def move(place: Place, alias: str, version: int) -> Callable[[], object]:
    def _move() -> None:
        with place.database.writing() as session:
            aliases.put(session, MODEL, alias, version, None)

    return _move


def edit_during(place: Place, happens: Callable[[], object], of: list[dict[str, Any]], **fields: Any) -> BatchRow:
    """Run a batch in whose check something happens."""
    batch = place.accept(of, **fields)
    place.run_until("solve")
    solve = place.ready()[0]
    place.worker(measuring=During(place.loaded, lambda: None, happens))
    jobs.run(solve.id)
    place.worker()
    return place.batch(batch)


def test_a_batch_is_carried_over_to_where_its_alias_points_now(place: Place) -> None:
    place.edit(facts(2))
    batch = edit_during(place, move(place, "latest", 0), facts(3, first=4))

    assert (batch.state, batch.base_version, batch.version) == ("succeeded", 0, 2)
    assert (place.version(2).parent, place.latest()) == (0, 2)
    with place.database.reading() as session:
        log = [(event.kind, event.data) for event in events.after(session, batch.id, 0)]
    assert ("rebased", {"from": "v1", "to": "v0"}) in log
    context = place.worker()
    (deltas,) = context.matrices.deltas(2)
    added = sum_deltas(context.model.decoder.projections[1], [deltas[1]])
    torch.testing.assert_close(context.matrices.get(2)[1], added, rtol=0, atol=0)
    said = context.measuring.measure(context.matrices.get(2), [Fact(**one) for one in facts(3, first=4)], ("EM",))
    assert batch.metrics is not None
    assert said["EM"].value == batch.metrics["after"]["EM"]["value"]


class AtDrift(Measuring):
    """Measuring with something that happens as drift is measured, which is the last thing of a check."""

    def __init__(self, loaded: Loaded, happens: Callable[[], object]) -> None:
        super().__init__(loaded.model, loaded.statistics)
        self._happens = happens

    def held_out(self, should_stop: ShouldStop = never) -> HeldOutReadings:
        if should_stop is not never:  # publishing, which keeps what was read, cannot be stopped
            self._happens()
        return super().held_out(should_stop)


class AtTheEnd(AtDrift):
    """One call for each check, as long as there are any."""

    def __init__(self, loaded: Loaded, *calls: Callable[[], object]) -> None:
        left = list(calls)
        super().__init__(loaded, lambda: left.pop(0)() if left else None)


def test_the_parent_that_a_batch_is_carried_over_to_is_kept(place: Place) -> None:
    place.edit(facts(2))
    place.edit(facts(1, first=2), reference=f"{MODEL}@v0")
    batch = place.accept(facts(2, first=4))
    solve = place.run_until("solve")

    def move_away_and_delete() -> None:
        move(place, "latest", 1)()
        with place.database.writing() as session, pytest.raises(VersionNeededError, match=batch):
            deletion.delete(session, Actor("cli:ada"), MODEL, 2)

    place.worker(measuring=AtTheEnd(place.loaded, move(place, "latest", 2), move_away_and_delete))
    jobs.run(solve.id)

    assert (place.batch(batch).state, place.batch(batch).base_version, place.version(3).parent) == ("succeeded", 1, 1)


def test_a_worker_that_was_silent_until_another_published_carries_nothing_over(place: Place) -> None:
    batch = place.accept(facts(2))
    solve = place.run_until("solve")
    zombie = place.worker("zombie")
    before = place.batch(batch)
    place.worker("heir")
    jobs.run(solve.id)

    with pytest.raises(LeaseLostError, match="has ended"):
        parent_now(zombie, before)

    with place.database.reading() as session:
        assert events.after(session, batch, 0)[-1].kind == "succeeded"


def test_a_batch_that_wants_no_other_parent_is_not_carried_over(place: Place) -> None:
    place.edit(facts(2))
    batch = edit_during(place, move(place, "latest", 0), facts(2, first=4), if_match=1)

    assert batch.error is not None
    assert (batch.state, batch.error["code"], place.latest()) == ("failed", "parent_moved", 0)


def test_what_the_batch_wants_at_its_keys_stays_the_same(place: Place) -> None:
    place.edit(facts(2))
    stays = place.edit(facts(3, first=4), reference=f"{MODEL}@v1")
    moved = edit_during(place, move(place, "latest", 0), facts(3, first=4))

    assert (stays.version, moved.version) == (2, 3)
    context = place.worker()
    keys = [*context.matrices.deltas(3)][-1][1].keys
    assert keys is not None
    on_v0, on_v1 = (context.matrices.get(number)[1].double() @ keys.double() for number in (3, 2))
    torch.testing.assert_close(on_v0, on_v1, rtol=1e-3, atol=1e-3)


def said(place: Place, version: int, of: list[dict[str, Any]]) -> float | None:
    """EM of the facts at the version."""
    context = place.worker()
    matrices = context.matrices.get(version)
    return context.measuring.measure(matrices, [Fact(**one) for one in of], ("EM",))["EM"].value


@pytest.mark.parametrize("layers", [[1, 2], [2]], ids=["several layers", "a layer above"])
def test_what_was_wanted_is_solved_again_where_keys_differ(place: Place, layers: list[int]) -> None:
    """Several layers, whose keys depend on one another; one layer, below which the parents differ."""
    place.edit(facts(2), settings={**SURE, "layers": [1]})
    place.edit(facts(3, first=8), reference=f"{MODEL}@v0", settings={**SURE, "layers": [1]})
    batch = edit_during(place, move(place, "latest", 2), facts(3, first=4), settings={**SURE, "layers": layers})

    assert (batch.state, batch.base_version, batch.version, place.latest()) == ("succeeded", 2, 3, 3)
    assert (place.version(3).parent, place.version(3).provenance["values_made_on"]) == (2, 1)
    assert said(place, 3, facts(3, first=4)) == 1
    assert said(place, 3, facts(3, first=8)) == 1


@pytest.mark.parametrize("layers", [[1], [1, 2]])
def test_a_batch_whose_alias_was_moved_before_it_is_solved_is_solved_there_at_once(
    place: Place, layers: list[int]
) -> None:
    settings = {**SURE, "layers": layers}
    place.edit(facts(2), settings=settings)
    batch = place.accept(facts(3, first=4), settings=settings)
    place.run_until("solve")
    move(place, "latest", 0)()

    checks: list[int] = []
    place.worker(measuring=AtDrift(place.loaded, lambda: checks.append(1)))
    place.run()

    assert (place.batch(batch).state, place.version(2).parent, len(checks)) == ("succeeded", 0, 1)
    assert said(place, 2, facts(3, first=4)) == 1


def test_an_urgent_batch_passes_a_large_one_and_both_are_said(place: Place) -> None:
    large = place.accept(facts(3, first=4), settings={**SURE, "layers": [1, 2]})
    place.run_until("values")
    urgent = place.accept(facts(3, first=8), urgent=True)
    with place.database.writing() as session:  # as the front end accepts it, which knows the model
        batches.get(session, urgent).settings = {**batches.get(session, large).settings, "layers": [1]}
    for kind in ("plan", "values", "solve"):
        place.ready()
        (task,) = place.tasks_of(urgent, kind)
        jobs.run(task.id)
    assert (place.batch(urgent).version, place.batch(large).state, place.latest()) == (1, "optimising", 1)

    place.run()

    assert (place.batch(large).version, place.version(2).parent, place.latest()) == (2, 1, 2)
    assert said(place, 2, facts(3, first=4)) == 1
    assert said(place, 2, facts(3, first=8)) == 1


def test_a_parent_that_was_carried_over_to_and_is_deleted_since_does_no_harm(place: Place) -> None:
    place.edit(facts(2))
    place.edit(facts(1, first=2), reference=f"{MODEL}@v0")
    batch = place.accept(facts(2, first=4))
    solve = place.run_until("solve")

    def gone() -> None:
        move(place, "latest", 0)()
        with place.database.writing() as session:
            row = lineage.get(session, MODEL, 2)
            row.state, row.blob, row.matrix_blobs = "deleted", None, None
            row.provenance = {"deleted_at": "2026-11-26T00:00:00"}

    place.worker(matrices=place.cache(budget_bytes=1), measuring=AtTheEnd(place.loaded, move(place, "latest", 2), gone))
    jobs.run(solve.id)

    assert (place.batch(batch).state, place.version(3).parent) == ("succeeded", 0)


def test_a_parent_that_differs_elsewhere_too_cannot_be_gone_over_to(place: Place) -> None:
    place.edit(facts(2), settings={"layers": [2]})
    batch = edit_during(place, move(place, "latest", 0), facts(2, first=4))

    assert batch.error is not None
    assert (batch.state, batch.error["code"]) == ("failed", "parent_moved")
    assert "v1 and v0 differ in layers [2] too" in batch.error["detail"]


def test_an_alias_that_is_gone_is_told(place: Place) -> None:
    move(place, "staging", 0)()

    def delete() -> None:
        with place.database.writing() as session:
            aliases.delete(session, MODEL, "staging")

    batch = edit_during(place, delete, facts(2), reference=f"{MODEL}@staging")
    assert batch.error is not None
    assert (batch.state, batch.error["code"]) == ("failed", "parent_moved")
    assert "is gone" in batch.error["detail"]


def test_an_alias_that_never_rests_ends_the_batch(place: Place) -> None:
    place.edit(facts(1))
    place.edit(facts(1, first=1))
    batch = place.accept(facts(2, first=4))
    place.run_until("solve")
    solve = place.ready()[0]

    def move_on() -> None:
        move(place, "latest", (place.latest() + 1) % 3)()

    place.worker(measuring=AtDrift(place.loaded, move_on))
    jobs.run(solve.id)
    row = place.batch(batch)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "parent_moved")
