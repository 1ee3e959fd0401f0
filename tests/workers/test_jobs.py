"""A batch from its acceptance to its version, task by task, in a worker on a tiny model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from api_schemas.facts import Fact
from api_schemas.metrics import BatchMetrics
from store.work import events
from tests.support.saved_models import SUBJECTS, fact, facts
from tests.support.summed_deltas import sum_deltas
from tests.workers.conftest import MODEL, SURE, Place
from workers import jobs
from workers.weights.deltas import unpack_deltas
from workers.weights.matrix_bits import matrix_hash

LOOSE = {"EM": 0.0, "drift": 100.0}


def states_of(place: Place, batch_id: str) -> list[str]:
    with place.database.reading() as session:
        return [event.kind for event in events.after(session, batch_id, 0)]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_batch_becomes_a_version_that_any_worker_serves_alike(family: str, place_of: Callable[..., Place]) -> None:
    place = place_of(family)
    publisher = place.worker()
    batch_id = place.accept(facts(4), settings=SURE, thresholds=LOOSE, label="corrections")

    assert place.run() == ["plan", "values", "solve"]

    batch, version = place.batch(batch_id), place.version(1)
    assert (batch.state, batch.base_version, batch.version, batch.error) == ("succeeded", 0, 1, None)
    assert (version.parent, version.batch_id, version.label) == (0, batch_id, "corrections")
    assert (version.layers, version.facts, version.total_facts, version.rank) == ([1], 4, 4, 4)
    assert place.latest() == 1
    assert states_of(place, batch_id) == ["queued", "planning", "optimising", "solving", "checking", "succeeded"]
    assert version.matrices_blob is None
    assert version.matrix_blobs is not None
    for blob in (version.blob, version.matrix_blobs["1"]):
        assert blob is not None
        assert place.blobs.exists(blob)
    served = publisher.matrices.get(1)
    elsewhere = place.cache().get(1)
    assert {str(layer): matrix_hash(matrix) for layer, matrix in elsewhere.items()} == version.matrix_hashes
    assert list(served) == list(elsewhere) == [1]
    assert torch.equal(served[1], elsewhere[1])


def test_the_stored_delta_is_what_was_added_to_the_base(place: Place) -> None:
    place.edit(facts(4))
    model, version = place.loaded.model, place.version(1)
    assert version.blob is not None
    ((layer, delta),) = unpack_deltas(place.blobs.get(version.blob), model.fingerprint).items()
    assert delta.a is not None
    assert delta.b is not None
    weight = model.decoder.projections[layer].weight

    expected = (weight.double() + delta.b.double() @ delta.a.double()).float()

    assert torch.equal(place.cache().get(1)[layer], expected)
    assert not torch.equal(weight, expected)


def test_what_an_edit_asks_for_is_said_and_the_base_is_untouched(place: Place) -> None:
    wanted = [Fact.model_validate(one) for one in facts(4)]
    measure = place.loaded.measuring.measure
    before = measure({}, wanted, ("EM", "ES"))
    weights = [projection.weight.clone() for projection in place.loaded.model.decoder.projections]

    batch = place.edit(facts(4))

    after = measure(place.cache().get(1), wanted, ("EM", "ES"))
    assert after["EM"].value == 1.0
    assert measure({}, wanted, ("EM", "ES")) == before
    decoder = place.loaded.model.decoder
    assert all(torch.equal(old, new.weight) for old, new in zip(weights, decoder.projections, strict=True))
    assert batch.metrics is not None
    metrics = BatchMetrics.model_validate(batch.metrics)
    assert (metrics.before["EM"], metrics.after["EM"]) == (before["EM"], after["EM"])
    assert set(metrics.after) == {"ES", "PS", "NS", "S", "EM", "GA", "GA_paraphrase", "GA_chat"}
    assert metrics.drift is not None
    assert metrics.drift.of is not None
    assert metrics.drift.of > 1000
    assert set(metrics.seconds) == {"queued", "plan", "values", "solve", "check"}


def test_a_second_batch_stands_on_the_first(place: Place) -> None:
    place.edit(facts(4))
    batch = place.edit(facts(4, first=4))

    assert (batch.base_version, batch.version, place.latest()) == (1, 2, 2)
    version = place.version(2)
    assert (version.parent, version.facts, version.total_facts) == (1, 4, 8)
    cache = place.cache()
    lineage = [*cache.deltas(2)]
    added = sum_deltas(place.loaded.model.decoder.projections[1], [deltas[1] for deltas in lineage])
    assert len(lineage) == 2
    assert torch.equal(cache.get(2)[1], added)
    everything = [Fact.model_validate(one) for one in facts(8)]
    said = place.loaded.measuring.measure(cache.get(2), everything, ("EM",))["EM"].value
    assert said is not None
    assert said >= 0.75


def test_batches_that_wait_run_one_by_one_in_their_order(place: Place) -> None:
    ids = [place.accept(facts(1, first=n)) for n in range(3)]
    place.run()
    assert [(place.batch(one).base_version, place.batch(one).version) for one in ids] == [(0, 1), (1, 2), (2, 3)]


def test_an_edit_of_an_older_version_is_a_branch_and_moves_no_alias(place: Place) -> None:
    place.edit(facts(2))
    place.edit(facts(2, first=2))
    batch = place.edit(facts(2, first=4), reference=f"{MODEL}@v1")
    assert (batch.version, place.version(3).parent, place.latest()) == (3, 1, 2)
    assert len([*place.cache().deltas(3)]) == 2


def test_an_edit_of_several_layers_changes_all_of_them(place: Place) -> None:
    place.edit(facts(2), settings={**SURE, "layers": [2, 1]})
    version = place.version(1)
    assert (version.layers, sorted(version.matrix_hashes)) == ([1, 2], ["1", "2"])
    assert list(place.cache().get(1)) == [1, 2]


def test_a_version_keeps_the_layers_that_its_parents_changed(place: Place) -> None:
    place.edit(facts(2), settings={**SURE, "layers": [2]})
    place.edit(facts(2, first=2), settings={**SURE, "layers": [1]})
    assert place.version(2).layers == [1]
    matrices = place.cache().get(2)
    assert list(matrices) == [1, 2]
    assert torch.equal(matrices[2], place.cache().get(1)[2])


def test_more_facts_than_factors_pay_for_are_kept_dense(place: Place) -> None:
    everything = facts(len(SUBJECTS)) + [
        {**one, "subject": f"{one['subject']} {letter}", "paraphrases": []}
        for letter in "AB"
        for one in facts(len(SUBJECTS))
    ]
    batch = place.edit(everything, settings={"steps": 2, "repair_rounds": 0}, thresholds=LOOSE)
    assert batch.state == "succeeded"
    cache = place.cache()
    ((_, delta),) = next(cache.deltas(1)).items()
    assert (delta.a, delta.b) == (None, None)
    assert matrix_hash(cache.get(1)[1]) == place.version(1).matrix_hashes["1"]


def test_facts_about_one_subject_share_one_key(place: Place) -> None:
    same = [
        {**fact(0), "prompt": "The mother tongue of {} is"},
        {**fact(0), "prompt": "Everybody knows that {} speaks"},
        fact(1),
    ]
    batch = place.edit(same)
    assert (batch.state, place.version(1).rank) == ("succeeded", 2)
    (plan,) = place.tasks_of(batch.id, "plan")
    assert plan.result is not None
    assert plan.result["subjects"] == 2
    assert BatchMetrics.model_validate(batch.metrics).after["EM"].n == 3


def test_what_is_below_its_thresholds_is_not_published(place: Place) -> None:
    batch = place.edit(facts(4), settings={"steps": 1, "lr": 1e-4, "repair_rounds": 0}, thresholds={"EM": 1.0})

    assert (batch.state, batch.version, place.versions(), place.latest()) == ("rejected", None, [], 0)
    assert batch.error is not None
    assert batch.error["code"] == "below_thresholds"
    assert "EM is 0" in batch.error["detail"]
    assert "below its threshold 1" in batch.error["detail"]
    assert BatchMetrics.model_validate(batch.metrics).layers[0].layer == 1
    after = place.edit(facts(2))
    assert (after.state, after.base_version, after.version) == ("succeeded", 0, 1)


def test_a_wild_edit_is_rejected_by_its_drift(place: Place) -> None:
    batch = place.edit(facts(6), settings={"lr": 10.0, "clamp": 100.0, "steps": 5, "stop_after_argmax": -1})
    assert batch.state == "rejected"
    assert batch.error is not None
    assert "drift is" in batch.error["detail"]


def test_a_dry_run_is_measured_and_leaves_no_version(place: Place) -> None:
    batch = place.edit(facts(4), dry_run=True)

    assert (batch.state, batch.version, batch.error) == ("succeeded", None, None)
    assert (place.versions(), place.latest()) == ([], 0)
    assert BatchMetrics.model_validate(batch.metrics).after["EM"].value == 1.0
    assert place.edit(facts(2)).version == 1


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"prompt": "{}uda plays the", "subject": "Toko Yas"}, "subject_not_found", "ends inside the token"),
        ({"target_new": "Lyon " * 150}, "context_length_exceeded", "shorten"),
        ({"prompt": "Lyon " * 150 + "{} is"}, "context_length_exceeded", "shorten"),
    ],
)
def test_a_fact_that_the_model_cannot_take_fails_the_batch_and_is_named(
    place: Place, changed: dict[str, str], code: str, says: str
) -> None:
    batch = place.edit([fact(0), fact(1), {**fact(2), **changed}])

    assert (batch.state, place.versions()) == ("failed", [])
    assert batch.error is not None
    assert (batch.error["code"], batch.error["facts"]) == (code, [2])
    assert says in batch.error["detail"]
    assert place.edit(facts(2)).version == 1


def test_settings_that_the_loaded_model_cannot_take_fail_the_batch(place: Place) -> None:
    batch = place.edit(facts(2), settings={"layers": [4]})
    assert batch.state == "failed"
    assert batch.error is not None
    assert batch.error["code"] == "settings_invalid"
    assert "layers 0 to 3" in batch.error["detail"]


def test_several_layers_are_refused_before_any_work_where_they_cannot_be_edited(
    place_of: Callable[..., Place],
) -> None:
    place = place_of("olmo2")
    asked = place.accept(facts(2), settings={"layers": [1, 2]})
    assert place.run() == ["plan"]
    batch = place.batch(asked)
    assert batch.error is not None
    assert (batch.state, batch.error["code"]) == ("failed", "unsupported_model")
    assert "layers [1, 2] cannot be edited together in olmo2 models" in batch.error["detail"]


def test_a_method_that_takes_one_subject_refuses_two(place: Place) -> None:
    batch = place.edit(facts(2), algorithm="rome")
    assert batch.state == "failed"
    assert batch.error is not None
    assert batch.error["code"] == "too_many_subjects"
    assert place.edit([fact(0)], algorithm="rome").version == 1


IN_SHARDS = {"steps": 5, "repair_rounds": 0, "contexts": 16}
"""With a worker that takes itself to be slow, these make several shards of a batch."""


def test_each_shard_is_a_task_and_all_of_them_make_one_version(place: Place) -> None:
    place.worker(tokens_per_second=1.0)
    batch_id = place.accept(facts(24), settings=IN_SHARDS, thresholds=LOOSE)

    kinds = place.run()

    shards = place.tasks_of(batch_id, "values")
    assert kinds == ["plan", *["values"] * len(shards), "solve"]
    assert len(shards) > 1
    held = sorted(number for shard in shards for number in shard.payload["facts"])
    assert held == list(range(24))
    batch = place.batch(batch_id)
    assert (batch.state, batch.version, place.version(1).rank) == ("succeeded", 1, 24)
    assert BatchMetrics.model_validate(batch.metrics).after["EM"].n == 24


def test_shards_that_are_done_are_not_done_again(place: Place) -> None:
    place.worker("first", tokens_per_second=1.0)
    batch_id = place.accept(facts(24), settings=IN_SHARDS, thresholds=LOOSE)
    place.run_until("values")
    assert place.step() == "values"
    done = {task.id: task.result for task in place.tasks_of(batch_id, "values") if task.state == "done"}
    assert len(done) == 1 < len(place.tasks_of(batch_id, "values"))

    place.worker("second")
    place.run()

    assert place.batch(batch_id).version == 1
    for task in place.tasks_of(batch_id, "values"):
        assert (task.state, task.attempts) == ("done", 1)
        assert done.get(task.id, task.result) == task.result


def test_shards_and_one_piece_give_the_same_values(place: Place) -> None:
    place.worker(tokens_per_second=1.0)
    first = place.edit(facts(16), settings=IN_SHARDS, thresholds=LOOSE)
    place.worker(tokens_per_second=1e6)
    batch = place.edit(facts(16), reference=f"{MODEL}@v0", settings=IN_SHARDS, thresholds=LOOSE)

    assert [len(place.tasks_of(one, "values")) > 1 for one in (first.id, batch.id)] == [True, False]
    cache = place.cache()
    torch.testing.assert_close(cache.get(1)[1], cache.get(2)[1], rtol=1e-3, atol=1e-4)


def test_a_task_that_is_done_or_unknown_is_not_done_again(place: Place) -> None:
    batch = place.edit(facts(2))
    for kind in ("plan", "values", "solve"):
        for task in place.tasks_of(batch.id, kind):
            jobs.run(task.id)
            assert place.task(task.id).attempts == 1
    jobs.run("task_unknown")
    assert place.versions() == [1]


def test_a_version_says_how_it_was_made(place: Place) -> None:
    batch = place.edit(facts(2), settings={**SURE, "seed": 7})
    made = place.version(1).provenance
    assert made["settings"]["seed"] == 7
    assert made["settings"] == place.batch(batch.id).settings
    assert (made["algorithm"], made["parent"], made["subjects"], len(made["contexts"])) == ("emmet", 0, 2, 5)
    assert made["statistics"]["1"]["tokens"] >= 1280
    assert set(made["libraries"]) == {"emmetd", "torch", "transformers", "tokenizers"}


def test_the_same_batch_twice_is_the_same_version_to_the_last_bit(place: Place) -> None:
    for _ in range(2):
        place.edit(facts(3), reference=f"{MODEL}@v0")
    assert place.version(1).matrix_hashes == place.version(2).matrix_hashes
