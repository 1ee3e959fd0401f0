"""A batch listens to earlier facts, and says again what it would lose of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from api_schemas.facts import Fact
from editing.values.facts import SubjectGroup
from store.lineage import versions as lineage
from store.lineage.facts_in_force import lineage_facts
from store.schema.tables import BatchRow
from tests.support.saved_models import SUBJECTS, fact, facts
from tests.workers.conftest import MODEL, During, Place
from tests.workers.reverting.test_revert import delta, revert
from tests.workers.tasks.test_rebase import move
from workers import jobs
from workers.measuring import Measuring
from workers.reverting.remaining_edit import remaining_edit

ANY = {"EM": 0.0, "drift": 1e9, "retained": 1.0}
LAYERS = [1, 2]
ROUGH = {"layers": LAYERS, "steps": 25, "mu": 0.0, "protect": "none"}
"""What wears a line: nothing preserved."""


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The first subject counts as lost whenever it is listened to. Which earlier ones were, call by call."""
    heard: list[tuple[str, ...]] = []

    def losing(_: Any, __: Any, groups: Sequence[SubjectGroup], *___: Any) -> list[int]:
        heard.append(tuple(group.facts[0].fact.subject for group in groups))
        return [number for number, subject in enumerate(heard[-1]) if subject == SUBJECTS[0]]

    monkeypatch.setattr(Measuring, "lost_groups", losing)
    return heard


def edit(place: Place, of: list[dict[str, Any]], **settings: Any) -> BatchRow:
    row = place.edit(of, settings={"layers": LAYERS, "steps": 25, **settings}, thresholds=ANY)
    assert row.state == "succeeded", row.error
    return row


def said(place: Place, version: int) -> list[float]:
    with place.database.reading() as session:
        of = [one.fact for one in lineage_facts(session, MODEL, version)]
    measured = place.loaded.measuring.evaluate(
        place.cache().get(version), [Fact.model_validate(one) for one in of], ("EM",)
    )
    return [one["EM"] or 0.0 for one in measured.of_facts]


def test_what_a_batch_loses_it_says_again(place: Place, lost: list[tuple[str, ...]]) -> None:
    first = edit(place, facts(3))
    row = edit(place, facts(2, first=3), repair_rounds=2)

    assert lost == [SUBJECTS[:3], (SUBJECTS[0],)]  # at last those alone that take part
    version = place.version(2)
    assert version.provenance["restated"] == [[{"edit": first.id, "index": 0}]]
    assert row.metrics is not None
    assert row.metrics["restated"] == 1
    own = [*place.worker().matrices.deltas(2)][-1]
    assert {layer: one.keys.shape[1] for layer, one in own.items() if one.keys is not None} == {1: 3, 2: 3}
    assert said(place, 2)[0] == 1.0
    assert place.worker().past_keys.at(2, LAYERS)[1].shape[1] == 6


@pytest.mark.parametrize("settings", [{"rehearse": 0}, {"repair_rounds": 0}, {"strict": True, "condition_limit": 0}])
def test_who_wants_no_earlier_facts_listens_to_none(
    place: Place, lost: list[tuple[str, ...]], settings: dict[str, Any]
) -> None:
    edit(place, facts(3))
    edit(place, facts(2, first=3), **settings)
    assert lost == []
    assert "restated" not in place.version(2).provenance


def test_at_most_so_many_for_each_subject_of_the_batch(place: Place, lost: list[tuple[str, ...]]) -> None:
    edit(place, facts(6))
    lost.clear()
    edit(place, facts(1, first=6), rehearse=2)
    assert len(lost[0]) == 2


def test_what_the_batch_itself_speaks_of_and_what_was_taken_out_are_left_alone(
    place: Place, lost: list[tuple[str, ...]]
) -> None:
    edit(place, facts(4))
    revert(place, 1, of=1, thresholds=ANY)
    lost.clear()
    edit(place, [{**fact(2), "prompt": "Everybody knows that {} speaks"}, fact(3)])
    assert lost[0] == (SUBJECTS[0],)


def test_a_fact_that_is_too_long_beside_the_batchs_texts_is_not_listened_to(
    place: Place, lost: list[tuple[str, ...]]
) -> None:
    length = place.loaded.model.decoder.context_length
    long = {**fact(1), "prompt": "so " * (length // 4) + "the mother tongue of {} is"}
    edit(place, [fact(0), long], contexts=0, forms=["bare"])
    lost.clear()
    edit(place, facts(1, first=2), contexts=1, context_tokens=length // 2)
    assert lost[0] == (SUBJECTS[0],)


def test_a_fact_leaves_with_what_was_written_of_it_later(place: Place, lost: list[tuple[str, ...]]) -> None:
    edit(place, facts(3))
    second = edit(place, facts(3, first=3))
    written = what_it_writes(place, second, 2)
    row = revert(place, 0, of=1, thresholds=ANY)

    assert row.state == "succeeded", row.error
    entries = {one["edit"]: one["out"] for one in place.version(3).provenance["reverts"]}
    assert entries[second.id] == [3]
    left = what_it_writes(place, second, 3)
    for layer in LAYERS:
        before, after = written[layer].norm(dim=0), (left[layer] - written[layer]).norm(dim=0)
        assert float(left[layer][:, 3].norm()) < 0.01 * float(before[3])
        assert float((after / before)[:3].max()) < 0.05
    lost.clear()
    edit(place, facts(1, first=6))
    assert lost == [SUBJECTS[1:6]]


def what_it_writes(place: Place, batch: BatchRow, version: int) -> dict[int, torch.Tensor]:
    """By layer, what the batch adds to the outputs (d_out, n) at the keys of all columns that it was solved with, as
    the lineage of `version` has left it."""
    context = place.worker()
    with place.database.reading() as session:
        ancestry = lineage.ancestry(session, MODEL, version)
    layers = remaining_edit(context, ancestry, batch.id).layers
    assert batch.version is not None
    (*_, own) = context.matrices.deltas(batch.version)
    keys = {layer: delta.keys.double() for layer, delta in own.items() if delta.keys is not None}
    return {layer: layers[layer].at(of) for layer, of in keys.items()}


def test_an_edit_that_leaves_whole_leaves_nothing_behind(place: Place, lost: list[tuple[str, ...]]) -> None:
    edit(place, facts(3))
    second = edit(place, facts(2, first=3))
    revert(place, edits=[second.id], thresholds=ANY)
    for layer in LAYERS:
        before, after = delta(place, 1, layer), delta(place, 3, layer)
        assert float((after - before).norm()) < 1e-5 * float(before.norm())


def test_a_batch_whose_alias_went_elsewhere_says_again_what_is_said_there(
    place: Place, lost: list[tuple[str, ...]]
) -> None:
    """One layer: there an edit is carried over as it is, if it has nothing of its old line."""
    one_layer = {"layers": [1], "steps": 25}
    place.edit(facts(3), settings=one_layer, thresholds=ANY)
    batch = place.accept(facts(2, first=3), settings=one_layer, thresholds=ANY)
    solve = place.run_until("solve")
    place.worker(measuring=During(place.loaded, lambda: None, move(place, "latest", 0)))
    jobs.run(solve.id)

    row = place.batch(batch)
    assert (row.state, row.base_version) == ("succeeded", 0), row.error
    assert row.version is not None
    assert "restated" not in place.version(row.version).provenance
    (own,) = place.worker().matrices.deltas(row.version)
    assert own[1].keys is not None
    assert own[1].keys.shape[1] == 2


def test_a_line_keeps_more_with_it(place: Place) -> None:
    """Nothing is protected, so that batches write over one another."""
    shares = {}
    for rehearse in (0, 8):
        move(place, "latest", 0)()
        for first in range(0, 18, 3):
            row = edit(place, facts(3, first=first), **ROUGH, rehearse=rehearse)
        assert row.version is not None
        of = said(place, row.version)
        shares[rehearse] = sum(of) / len(of)
    assert shares[8] > shares[0]


def test_the_sum_that_a_version_holds_is_what_was_checked(place: Place, lost: list[tuple[str, ...]]) -> None:
    edit(place, facts(3))
    edit(place, facts(2, first=3))
    kept = place.worker().matrices.get(2)
    for layer, matrix in place.cache().get(2).items():
        assert torch.equal(matrix, kept[layer])
