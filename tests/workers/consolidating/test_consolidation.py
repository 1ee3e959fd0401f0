"""A worn line becomes one batch on the base: what it says is said, by values that were found long ago."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from api_schemas.facts import Fact
from api_schemas.references import ModelReference
from editing.solve import batch as solving
from editing.solve.consolidating import LEAST_REPAIR_ROUNDS
from editing.values.optimisation import optimise_values
from store.blobs.deltas import unpack_delta
from store.lineage.facts_in_force import lineage_facts
from store.schema.tables import BatchRow
from store.work import batches, lifecycle
from store.work.batches import NewBatch
from store.work.consolidation import facts_to_consolidate
from tests.conftest import BOTH_DATABASES
from tests.support.saved_models import LANGUAGES
from tests.workers.conftest import LAYERS, MODEL, SURE, During, Place
from tests.workers.reverting.test_revert import ANY, edit, fact, facts, revert, shared
from workers import jobs
from workers.tasks import values as shards
from workers.weights.matrix_bits import matrix_hash


def accept(place: Place, number: int, thresholds: dict[str, float] = ANY, **settings: Any) -> BatchRow:
    """A consolidation as the front end keeps it."""
    with place.database.writing() as session:
        found = facts_to_consolidate(session, MODEL, number)
        new = NewBatch(
            ModelReference(MODEL, version=0),
            "emmet",
            {"overrides": {**SURE, **settings}},
            thresholds,
            [one.fact for one in found],
            consolidates=number,
            origins=[one.origin for one in found],
        )
        return batches.accept(session, new, most_queued=100)[0]


def consolidate(place: Place, number: int, **options: Any) -> BatchRow:
    """A consolidation, run to its end."""
    row = accept(place, number, **options)
    place.run()
    done = place.batch(row.id)
    assert done.state == "succeeded", done.error
    return done


def line(place: Place) -> None:
    """v1 of three facts; v2 of two more and a correction of fact 0; v3 without fact 1. It says four facts."""
    edit(place, facts(place, 3))
    edit(place, [*facts(place, 2, first=3), fact(place, 0, target=-2)])
    revert(place, 1, of=1)


class Steps:
    """Counts the groups that shards, and that repairs, optimise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_shards = 0
        self.in_repairs = 0
        monkeypatch.setattr(shards, "optimise_values", self._counted("in_shards"))
        monkeypatch.setattr(solving, "optimise_values", self._counted("in_repairs"))

    def _counted(self, name: str) -> Callable[..., Any]:
        def optimise(decoder: Any, matrices: Any, groups: Sequence[Any], *rest: Any, **options: Any) -> Any:
            setattr(self, name, getattr(self, name) + len(groups))
            return optimise_values(decoder, matrices, groups, *rest, **options)

        return optimise


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def said(place: Place, number: int, of: Sequence[dict[str, Any]]) -> list[bool]:
    """Of each fact whether the version says it."""
    found = place.loaded.measuring.evaluate(
        place.cache().get(number), [Fact.model_validate(one) for one in of], ("EM",)
    )
    return [one.prompt is not None and one.prompt.new.said for one in found.observations.facts]


def in_force(place: Place, number: int) -> list[dict[str, Any]]:
    with place.database.reading() as session:
        return [one.fact for one in lineage_facts(session, MODEL, number) if one.state == "in_force"]


@BOTH_DATABASES
def test_a_line_is_consolidated_without_optimising_what_holds(place: Place, steps: Steps) -> None:
    line(place)
    wanted = in_force(place, 3)
    before = steps.in_shards

    row = accept(place, 3)
    assert place.step() == "plan_kept"
    assert place.step() == "solve_kept"
    assert place.step() is None

    done, version = place.batch(row.id), place.version(4)
    assert (done.state, done.version, done.kind, done.facts) == ("succeeded", 4, "consolidation", 4)
    assert (version.parent, version.consolidates, version.total_facts, place.latest()) == (0, 3, 4, 3)
    assert steps.in_shards == before
    assert (version.provenance["kept"], version.provenance["subjects"]) == (4, 4)
    assert version.provenance["settings"]["repair_rounds"] >= LEAST_REPAIR_ROUNDS
    assert version.provenance["consolidates"] == {"version": "v3", "edit": place.version(3).batch_id}
    assert in_force(place, 4) == wanted
    assert said(place, 4, wanted) == [True] * 4
    assert not any(said(place, 4, [fact(place, 0), fact(place, 1)]))
    assert version.metrics is not None
    assert version.metrics["before"]["EM"]["n"] == version.metrics["after"]["EM"]["n"] == 4
    assert version.metrics["before"]["drift"]["n"] == version.metrics["drift"]["n"] > 0


def test_it_says_what_one_batch_of_the_same_facts_says(place: Place) -> None:
    line(place)
    wanted = in_force(place, 3)
    consolidate(place, 3)
    edit(place, wanted, reference=f"{MODEL}@v0")
    assert said(place, 4, wanted) == said(place, 5, wanted)
    for number in (4, 5):
        hashes = place.version(number).matrix_hashes
        cold = place.cache().get(number)
        assert {str(layer): matrix_hash(matrix) for layer, matrix in cold.items()} == hashes


@pytest.mark.parametrize("layers", [[1], [0, 1]])
def test_the_wanted_states_are_where_the_edit_wanted_them(place: Place, layers: list[int]) -> None:
    row = edit(place, facts(place, 2), settings={**SURE, "layers": layers, "repair_rounds": 0})
    version = place.version(1)
    assert version.blob is not None
    arrays, header = unpack_delta(place.blobs.get(version.blob), place.loaded.model.fingerprint)
    assert header["groups"] == [[0], [1]]
    assert [layer for layer, one in arrays.items() if one.wanted is not None] == [max(layers)]
    shard = place.tasks_of(row.id, "values")[0]
    found = shards.gather(place.blobs, [shard])
    wanted = torch.from_numpy(arrays[max(layers)].wanted)
    torch.testing.assert_close(wanted.T, found.states + found.deltas)


def test_facts_of_one_subject_from_several_batches_are_optimised_together_again(place: Place, steps: Steps) -> None:
    edit(place, facts(place, 2))
    edit(place, [shared(place), fact(place, 2)])
    before = steps.in_shards
    row = consolidate(place, 2)
    assert steps.in_shards == before + 1
    assert place.version(3).provenance["kept"] == 2
    assert [task.payload["groups"] for task in place.tasks_of(row.id, "values")] == [[0]]
    assert row.progress["total"] == 4


def test_what_was_found_on_top_of_a_fact_that_left_is_found_again(place: Place, steps: Steps) -> None:
    edit(place, facts(place, 2))
    edit(place, [shared(place), fact(place, 2)])
    revert(place, 0, of=1)
    before = steps.in_shards
    consolidate(place, 3)
    assert steps.in_shards == before + 1
    assert place.version(4).provenance["kept"] == 2
    assert not any(said(place, 4, [fact(place, 0)]))


@pytest.mark.parametrize("settings", [{"layers": [0]}, {"layers": [0, 1]}])
def test_states_are_kept_for_the_same_last_layer_alone(place: Place, settings: dict[str, Any]) -> None:
    edit(place, facts(place, 3))
    consolidate(place, 1, **settings)
    assert place.version(2).provenance["kept"] == (3 if max(settings["layers"]) == LAYERS[-1] else 0)


def test_states_over_layers_that_the_base_has_not_are_found_again(place: Place) -> None:
    edit(place, facts(place, 2), settings={**SURE, "layers": [1]})
    edit(place, facts(place, 2, first=2), settings={**SURE, "layers": [0]})
    consolidate(place, 2, layers=[0])
    assert place.version(3).provenance["kept"] == 0


def test_a_damaged_delta_only_costs_an_optimisation(place: Place) -> None:
    line(place)
    place.cache().get(3)
    blob = place.version(1).blob
    assert blob is not None
    place.blobs.path(blob).unlink()
    consolidate(place, 3)
    assert place.version(4).provenance["kept"] == 3


def test_facts_keep_their_first_origin_through_a_second_consolidation(place: Place) -> None:
    line(place)
    first = consolidate(place, 3)
    second = edit(place, [fact(place, 5)], reference=f"{MODEL}@v4")
    consolidate(place, 5)

    with place.database.reading() as session:
        was, now = lineage_facts(session, MODEL, 3), batches.origins(session, place.version(6).batch_id or "")
    places = [one.place for one in was if one.state == "in_force"]
    expected = [(one.edit, one.index, one.version) for one in places] + [(second.id, 0, 5)]
    assert [(one["edit"], one["index"], one["version"]) for one in now] == expected
    assert [one.get("from") for one in now] == [{"edit": first.id, "index": n} for n in range(4)] + [None]
    version = place.version(6)
    assert (version.parent, version.consolidates, version.provenance["kept"]) == (0, 5, 5)
    assert all(said(place, 6, in_force(place, 5)))


def test_single_facts_are_taken_out_of_a_consolidation(place: Place) -> None:
    line(place)
    done = consolidate(place, 3)
    wanted = in_force(place, 4)
    gone = revert(place, 1, 3, of=4, reference=f"{MODEL}@v4")
    assert (gone.state, gone.reverts) == ("succeeded", [{"edit": done.id, "facts": [1, 3]}])
    stay = [one for index, one in enumerate(wanted) if index not in (1, 3)]
    assert in_force(place, 5) == stay
    assert all(said(place, 5, stay))
    assert not any(said(place, 5, [wanted[1], wanted[3]]))
    assert place.version(5).total_facts == 2


def test_it_can_be_edited_on(place: Place) -> None:
    line(place)
    consolidate(place, 3)
    batch = edit(place, [fact(place, 2, target=-2)], reference=f"{MODEL}@v4")
    assert batch.version == 5
    assert [one["target_new"] for one in in_force(place, 5)][-1] == fact(place, 2, target=-2)["target_new"]
    assert len(in_force(place, 5)) == 4
    assert {one["target_new"] for one in in_force(place, 5)} <= set(LANGUAGES)


def test_below_its_thresholds_it_is_not_published(place: Place) -> None:
    line(place)
    row = accept(place, 3, thresholds={"EM": 1.1, "drift": 100.0})
    place.run()
    done = place.batch(row.id)
    assert (done.state, place.versions(), place.latest()) == ("rejected", [1, 2, 3], 3)
    assert done.error is not None
    assert "below its threshold 1.1" in done.error["detail"]
    assert done.error["detail"].endswith("Send other settings or thresholds")
    assert done.error["title"] == "The consolidation was checked and not published"


@pytest.mark.parametrize("kind", ["plan_kept", "values", "solve_kept"])
def test_a_worker_that_dies_in_any_task_leaves_the_line_as_it_was(
    kind: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(place, facts(place, 2))
    edit(place, [shared(place), fact(place, 2)])
    row = accept(place, 2)
    task = place.run_until(kind)
    written = place.blobs.put
    monkeypatch.setattr(place.blobs, "put", lambda content: _die_after(written, content))
    with pytest.raises(Dead):
        jobs.run(task.id)
    assert (place.versions(), place.latest(), place.batch(row.id).version) == ([1, 2], 2, None)
    monkeypatch.setattr(place.blobs, "put", written)
    with place.database.writing() as session:
        dead = session.get(type(task), task.id)
        assert dead is not None
        dead.state, dead.owner, dead.lease_expires_at, dead.enqueued_at = "pending", None, None, None

    place.worker("heir")
    place.run()

    assert (place.batch(row.id).state, place.versions(), place.latest()) == ("succeeded", [1, 2, 3], 2)
    assert place.version(3).consolidates == 2


class Dead(BaseException):
    """As SIGKILL: nothing that a worker does about errors happens."""


def _die_after(write: Callable[[bytes], str], content: bytes) -> str:
    write(content)
    raise Dead


@pytest.mark.parametrize("kind", ["plan_kept", "values", "solve_kept"])
def test_it_is_cancelled_at_any_stage(kind: str, place: Place) -> None:
    edit(place, facts(place, 2))
    edit(place, [shared(place), fact(place, 2)])
    row = accept(place, 2)
    task = place.run_until(kind)
    with place.database.writing() as session:
        lifecycle.cancel(session, batches.get(session, row.id))
    jobs.run(task.id)
    assert (place.batch(row.id).state, place.run(), place.versions()) == ("cancelled", [], [1, 2])
    assert consolidate(place, 2).version == 3


def test_it_is_not_published_when_it_is_cancelled_while_it_is_checked(place: Place) -> None:
    line(place)
    row = accept(place, 3)
    task = place.run_until("solve_kept")

    def cancel() -> None:
        with place.database.writing() as session:
            lifecycle.cancel(session, batches.get(session, row.id))

    place.worker(measuring=During(place.loaded, lambda: None, cancel))
    jobs.run(task.id)
    assert (place.batch(row.id).state, place.versions()) == ("cancelled", [1, 2, 3])


def test_drift_that_grew_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    line(place)
    monkeypatch.setattr("workers.consolidating.check_consolidation.TOLD_DRIFT", -100.0)
    consolidate(place, 3)
    version = place.version(4)
    assert version.metrics is not None
    (warning,) = version.metrics["warnings"]
    assert warning["code"] == "drift_grew"
    assert "at v3" in warning["detail"]


def test_a_version_that_cannot_be_served_is_named(place: Place) -> None:
    edit(place, facts(place, 2))
    row = accept(place, 1)
    version = place.version(1)
    assert version.matrix_blobs
    for blob in (version.blob, *version.matrix_blobs.values()):
        assert blob is not None
        place.blobs.path(blob).unlink()
    place.worker()
    place.run()
    done = place.batch(row.id)
    assert done.error is not None
    assert (done.state, done.error["code"], place.versions()) == ("failed", "blob_missing", [1])
    assert "v1" in done.error["detail"]


def test_a_dry_run_publishes_nothing(place: Place) -> None:
    line(place)
    row = accept(place, 3)
    with place.database.writing() as session:
        batches.get(session, row.id).dry_run = True
    place.run()
    assert (place.batch(row.id).state, place.versions()) == ("succeeded", [1, 2, 3])
    assert place.batch(row.id).metrics is not None
