"""What a worker does ahead is what its tasks would do, and its failure is no failure of theirs."""

from __future__ import annotations

import functools

import pytest
import torch

from editing.solve.layer_measures import ordinary_power
from editing.values.contexts import sample_contexts
from tests.support.saved_models import facts
from tests.workers.conftest import MODEL, SURE, Place
from workers import context_prefixes, context_texts
from workers.ahead import MOST_HELD, Ahead
from workers.statistics import ordinary_outputs
from workers.statistics.ordinary_outputs import OrdinaryOutputs
from workers.tasks.batch_settings import settings_of
from workers.tasks.next_edit import prepare_first_edit


def test_pieces_are_done_in_order_once_each_and_one_that_fails_harms_nobody() -> None:
    ahead, done = Ahead(), list[int]()

    def fail() -> None:
        raise RuntimeError("cannot")

    for number in range(MOST_HELD + 2):
        ahead.add("piece", fail if number == 4 else functools.partial(done.append, number))
    while ahead:
        ahead.do_one()
    ahead.do_one()
    assert done == [2, 3, *range(5, MOST_HELD + 2)]


def test_after_a_publication_the_next_edits_context_texts_and_outputs_are_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = place.worker()
    place.edit(facts(2), settings=SURE)
    while context.ahead:
        context.ahead.do_one()
    batch = place.batch(place.accept(facts(2, first=2), settings=SURE))
    settings, model = settings_of(context, batch), context.model
    plain = sample_contexts(
        model.decoder,
        place.cache().get(1),
        model.backend_tokenizer,
        settings.context_texts,
        settings.context_tokens,
        settings.seed,
    )

    def unexpected(*_: object) -> None:
        raise AssertionError("it was done already")

    monkeypatch.setattr(context_texts, "sample_contexts", unexpected)
    monkeypatch.setattr(ordinary_outputs, "ordinary_power", unexpected)
    monkeypatch.setattr(context_prefixes, "context_prefix", unexpected)
    assert context.context_texts.of(1, settings) == plain
    place.run()
    assert place.batch(batch.id).state == "succeeded"
    (plan,) = place.tasks_of(batch.id, "plan")
    assert plan.result is not None
    assert plan.result["contexts"] == [one.text for one in plain]


def test_before_the_first_edit_the_base_is_read_and_sampled(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    context = place.worker()
    prepare_first_edit(context)
    while context.ahead:
        context.ahead.do_one()

    def unexpected(*_: object) -> None:
        raise AssertionError("it was done already")

    monkeypatch.setattr(context_texts, "sample_contexts", unexpected)
    monkeypatch.setattr(ordinary_outputs, "ordinary_power", unexpected)
    monkeypatch.setattr(context_prefixes, "context_prefix", unexpected)
    assert place.edit(facts(2), settings={}, thresholds={"EM": 0.0}).state == "succeeded"
    assert context.name == MODEL


def test_the_power_of_a_matrix_is_computed_once_while_it_lives(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    context = place.worker()
    projection = context.model.decoder.projections[1]
    (statistic,) = context.statistics.get((1,)).values()
    outputs, matrix = OrdinaryOutputs(), torch.randn_like(projection.weight)
    expected = ordinary_power(matrix, statistic.factor)
    assert expected == pytest.approx(float((matrix.double() @ statistic.C @ matrix.double().T).trace()))
    assert outputs.power(projection, matrix, statistic) == expected
    computed: list[object] = []

    def counted(*arguments: object) -> float:
        computed.append(arguments)
        return 7.0

    monkeypatch.setattr(ordinary_outputs, "ordinary_power", counted)
    monkeypatch.setattr(ordinary_outputs, "MOST_KEPT", 4)
    assert outputs.power(projection, matrix, statistic) == expected
    for number in range(1, 9):
        assert outputs.power(projection, torch.randn_like(projection.weight), statistic) == 7.0
        assert len(computed) == number
    assert outputs.power(projection, matrix, statistic) == expected
    assert len(outputs._kept) <= 4
