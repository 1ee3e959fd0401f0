"""Facts are taken out of a lineage by a version of their own, and what stays is still said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.references import parse_reference
from editing.values.optimisation import optimise_values
from store.lineage import versions as lineage
from store.lineage.facts_in_force import lineage_facts
from store.schema.tables import BatchRow
from store.work import batches, events
from store.work.reversal import as_reverts, facts_to_revert
from tests.support.saved_models import LANGUAGES, SUBJECTS
from tests.workers.conftest import MODEL, During, Place
from tests.workers.reverting.reverted import least_without, pinned_keys, put_in
from tests.workers.tasks.test_rebase import move
from workers import jobs
from workers.reverting import reversal
from workers.weights.matrix_bits import matrix_hash

ANY = {"EM": 0.0, "drift": 100.0}
"""Tiny models speak of all subjects alike: what matters here is what is done, not how well they take it."""


PROMPT = "The mother tongue of {} is"


def fact(place: Place, number: int, target: int = -1, prompt: str = PROMPT) -> dict[str, Any]:
    """A fact about subject `number`. Targets are what the model thinks of least; `target` counts from its favourite."""
    asked = [{"prompt": prompt, "subject": SUBJECTS[number], "target_new": language} for language in LANGUAGES]
    found = place.loaded.measuring.evaluate({}, [Fact.model_validate(one) for one in asked], ("EM",))
    likely = {
        one.fact.target_new: one.prompt.new.log_probability
        for one in found.observations.facts
        if one.prompt is not None
    }
    ranked = sorted(LANGUAGES, key=lambda language: -likely[language])
    return {**asked[0], "target_new": ranked[target], "target_old": ranked[0]}


def facts(place: Place, number: int, first: int = 0) -> list[dict[str, Any]]:
    return [fact(place, n) for n in range(first, first + number)]


def shared(place: Place) -> dict[str, Any]:
    """Another fact about the subject of fact 0."""
    return fact(place, 0, target=-2, prompt="Everybody knows that {} speaks")


def edit(place: Place, of: list[dict[str, Any]], **fields: Any) -> BatchRow:
    row = place.edit(of, **{"thresholds": ANY, **fields})
    assert row.state == "succeeded", row.error
    return row


def revert(
    place: Place,
    *indices: int,
    of: int | None = None,
    edits: Sequence[str] = (),
    reference: str = MODEL,
    thresholds: dict[str, float] = ANY,
) -> BatchRow:
    """Revert as the front end keeps it, and run it to its end."""
    with place.database.writing() as session:
        base = lineage.resolve(session, parse_reference(reference)).number
        chosen = facts_to_revert(session, MODEL, base, of=of, indices=indices, edits=edits)
        new = batches.NewBatch(
            parse_reference(reference),
            "revert",
            {},
            thresholds,
            [one.fact for one in chosen],
            reverts=as_reverts(chosen),
        )
        row = batches.accept(session, new, most_queued=100)[0]
    assert place.run() == ["revert"]
    return place.batch(row.id)


def delta(place: Place, version: int, layer: int = 1) -> Tensor:
    """Δ (d_out, d_in) of a version from the base, over its whole lineage, float64."""
    found = place.worker().matrices.deltas(version)
    return torch.stack([one[layer].delta() for one in found if layer in one]).sum(0)


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lone_subjects_leave_without_an_optimisation(
    family: str, place_of: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(family)
    edit(place, facts(place, 6))
    monkeypatch.setattr(reversal, "optimise_values", _refuse)
    row = revert(place, 1, 4, of=1)

    assert (row.state, row.kind, row.version, place.latest()) == ("succeeded", "revert", 2, 2)
    version = place.version(2)
    assert (version.parent, version.facts, version.total_facts) == (1, 2, 4)
    assert version.rank == min(2 + pinned_keys(place, 2).shape[1], 6)
    assert [one["out"] for one in version.provenance["reverts"]] == [[1, 4]]
    assert distance(delta(place, 2), least_without(place, 2)) < 1e-4
    assert version.metrics is not None
    assert version.metrics["after"]["EM"]["n"] == 4
    reverted = version.metrics["reverted"]
    assert reverted["after"]["EM"] == reverted["original"]["EM"] == {"value": 0.0, "n": 2, "low": 0.0, "high": 0.0}
    assert reverted["after"]["ES"] == reverted["original"]["ES"]
    assert reverted["before"]["EM"]["n"] == 2
    with place.database.reading() as session:
        states = [event.kind for event in events.after(session, row.id, 0)]
    assert states == ["queued", "planning", "solving", "checking", "succeeded"]


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("optimised although no subject is shared")


def test_a_whole_edit_leaves_the_base_behind(place: Place) -> None:
    row = edit(place, facts(place, 3))
    revert(place, edits=[row.id])
    assert float(delta(place, 2).norm()) < 1e-5 * float(delta(place, 1).norm())
    base = place.loaded.model.decoder.projections[1].weight
    torch.testing.assert_close(place.worker().matrices.get(2)[1], base.detach(), rtol=1e-5, atol=1e-6)
    assert place.version(2).total_facts == 0


def test_an_edit_in_the_middle_leaves_the_later_ones(place: Place) -> None:
    edit(place, facts(place, 3))
    middle = edit(place, facts(place, 2, first=3))
    edit(place, facts(place, 2, first=5))
    revert(place, edits=[middle.id])

    assert distance(delta(place, 4), delta(place, 1) + delta(place, 3) - delta(place, 2)) < 1e-5
    assert place.version(4).parent == 3


def test_facts_leave_one_revert_after_the_other(place: Place) -> None:
    edit(place, facts(place, 6))
    at_once = revert(place, 0, 2, 5, of=1, reference=f"{MODEL}@v1")
    revert(place, 2, of=1)
    revert(place, 5, 0, of=1)
    assert (at_once.version, place.latest()) == (2, 4)
    for newest, reverts in ((2, (2,)), (4, (3, 4))):
        assert distance(delta(place, newest), least_without(place, *reverts)) < 1e-4
    with place.database.reading() as session:
        states = [one.state for one in lineage_facts(session, MODEL, 4)]
    assert states == ["reverted", "in_force", "reverted", "in_force", "in_force", "reverted"]


def test_what_shares_a_subject_is_optimised_again_for_the_facts_that_stay(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(place, [*facts(place, 3), shared(place)])
    optimised: list[list[list[int]]] = []

    def observed(decoder: Any, matrices: Any, groups: Any, *rest: Any, **options: Any) -> Any:
        optimised.append([[one.fact.target_new for one in group.facts] for group in groups])
        return optimise_values(decoder, matrices, groups, *rest, **options)

    monkeypatch.setattr(reversal, "optimise_values", observed)
    row = revert(place, 0, of=1)

    assert row.state == "succeeded"
    assert optimised[0] == [[shared(place)["target_new"]]]
    version = place.version(2)
    assert version.provenance["optimised_again"] == 1
    assert version.provenance["reverts"] == [
        {"edit": place.version(1).batch_id, "out": [0], "in": [0], "ranks": {"1": 1 + 1}}
    ]
    assert version.metrics is not None
    assert version.metrics["after"]["EM"]["n"] == 3
    context = place.worker()
    stays = [Fact.model_validate(one) for one in (shared(place), *facts(place, 2, first=1))]
    said = context.measuring.measure(context.matrices.get(2), stays, ("EM",))
    assert said["EM"].value == version.metrics["after"]["EM"]["value"]


def test_a_column_that_came_back_can_leave_too(place: Place) -> None:
    edit(place, [*facts(place, 3), shared(place)])
    revert(place, 0, of=1)
    revert(place, 3, 1, of=1)

    own, again = [*place.worker().matrices.deltas(1)][-1][1].keys, put_in(place, 2).keys
    assert own is not None
    assert again is not None
    keys = torch.cat([again, own[:, 1:]], 1).double()
    edited, renewed, left = (delta(place, number) @ keys for number in (1, 2, 3))
    assert distance(renewed[:, 1:], edited[:, 1:]) < 1e-4
    assert float(left[:, :2].norm()) < 1e-4 * float(renewed[:, :2].norm())
    assert distance(left[:, 2], edited[:, 2]) < 1e-4


def test_a_later_edit_of_the_same_subject_is_optimised_on_what_is_left(place: Place) -> None:
    edit(place, facts(place, 3))
    correction = fact(place, 0, target=-2)
    edit(place, [correction, fact(place, 4)])
    row = revert(place, 0, of=1)

    assert row.state == "succeeded"
    assert [one["edit"] for one in place.version(3).provenance["reverts"]] == [
        place.version(1).batch_id,
        place.version(2).batch_id,
    ]
    with place.database.reading() as session:
        in_force = [one.fact["target_new"] for one in lineage_facts(session, MODEL, 3) if one.state == "in_force"]
    assert in_force == [one["target_new"] for one in (fact(place, 1), fact(place, 2), correction, fact(place, 4))]
    context = place.worker()
    said = context.measuring.measure(context.matrices.get(3), [Fact.model_validate(correction)], ("EM",))
    assert said["EM"].value == 1.0


def test_taking_a_correction_out_brings_the_earlier_answer_back(place: Place) -> None:
    edit(place, facts(place, 2))
    edit(place, [fact(place, 0, target=-2)])
    revert(place, 0, of=2)
    assert float(distance(delta(place, 3), delta(place, 1))) < 1e-5
    context = place.worker()
    earlier = context.measuring.measure(context.matrices.get(1), [Fact.model_validate(fact(place, 0))], ("EM", "ES"))
    assert (
        context.measuring.measure(context.matrices.get(3), [Fact.model_validate(fact(place, 0))], ("EM", "ES"))
        == earlier
    )


def test_what_was_corrected_is_not_held_against_a_revert(place: Place) -> None:
    edit(place, facts(place, 3))
    edit(place, [fact(place, 0, target=-2)])
    revert(place, 1, of=1)
    metrics = place.version(3).metrics
    assert metrics is not None
    assert (metrics["before"]["EM"]["n"], metrics["after"]["EM"]["n"]) == (1, 1)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_several_layers_leave_together(family: str, place_of: Callable[..., Place]) -> None:
    place = place_of(family)
    edit(place, [*facts(place, 4), shared(place)], settings={"layers": [1, 2]})
    row = revert(place, 2, of=1)
    assert row.state == "succeeded"
    version = place.version(2)
    assert version.layers == [1, 2]
    assert version.metrics is not None
    assert version.metrics["reverted"]["after"]["ES"] == version.metrics["reverted"]["original"]["ES"]
    again = revert(place, 0, of=1)
    assert again.state == "succeeded"
    assert place.version(3).provenance["optimised_again"] == 1
    last = revert(place, edits=[str(place.version(1).batch_id)])
    assert last.state == "succeeded"
    for layer in (1, 2):
        assert float(delta(place, 4, layer).norm()) < 1e-4 * float(delta(place, 1, layer).norm())


def test_versions_of_reverts_have_the_same_bits_from_cold(place: Place) -> None:
    edit(place, [*facts(place, 4), shared(place)])
    revert(place, 0, 1, of=1)
    warm = place.worker().matrices
    for number in (1, 2):
        hashes = place.version(number).matrix_hashes
        assert {str(layer): matrix_hash(matrix) for layer, matrix in warm.get(number).items()} == hashes


def test_a_revert_of_what_left_meanwhile_fails_with_that_reason(place: Place) -> None:
    edit(place, facts(place, 3))
    with place.database.writing() as session:
        for _ in range(2):
            chosen = facts_to_revert(session, MODEL, 1, of=1, indices=[0], edits=[])
            new = batches.NewBatch(
                parse_reference(MODEL), "revert", {}, ANY, [chosen[0].fact], reverts=as_reverts(chosen)
            )
            last = batches.accept(session, new, most_queued=100)[0].id
    place.run()
    row = place.batch(last)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "not_in_lineage")
    assert "not in v2 any more" in row.error["detail"]


def test_a_revert_below_its_thresholds_is_not_published(place: Place) -> None:
    edit(place, facts(place, 3))
    row = revert(place, 0, of=1, thresholds={"EM": 1.1})
    assert (row.state, place.latest()) == ("rejected", 1)
    assert row.error is not None
    assert "below its threshold 1.1" in row.error["detail"]


def test_a_revert_is_carried_over_when_its_alias_moves(place: Place) -> None:
    edit(place, facts(place, 3))
    edit(place, facts(place, 2, first=3))
    with place.database.writing() as session:
        chosen = facts_to_revert(session, MODEL, 2, of=1, indices=[1], edits=[])
        new = batches.NewBatch(parse_reference(MODEL), "revert", {}, ANY, [chosen[0].fact], reverts=as_reverts(chosen))
        row = batches.accept(session, new, most_queued=100)[0]
    (task,) = place.ready()
    place.worker(measuring=During(place.loaded, move(place, "latest", 1)))
    jobs.run(task.id)
    done = place.batch(row.id)
    assert (done.state, done.base_version, done.version) == ("succeeded", 1, 3)
    assert distance(delta(place, 3), least_without(place, 3)) < 1e-4


def test_a_revert_whose_alias_was_moved_before_it_begins_is_made_there_at_once(place: Place) -> None:
    edit(place, facts(place, 3))
    edit(place, facts(place, 2, first=3))
    with place.database.writing() as session:
        chosen = facts_to_revert(session, MODEL, 2, of=1, indices=[1], edits=[])
        new = batches.NewBatch(parse_reference(MODEL), "revert", {}, ANY, [chosen[0].fact], reverts=as_reverts(chosen))
        row = batches.accept(session, new, most_queued=100)[0]
    (task,) = place.ready()
    move(place, "latest", 1)()
    jobs.run(task.id)
    with place.database.reading() as session:
        kinds = [event.kind for event in events.after(session, row.id, 0)]
    assert (place.batch(row.id).state, place.version(3).parent) == ("succeeded", 1)
    assert kinds == ["queued", "planning", "solving", "rebased", "checking", "succeeded"]
