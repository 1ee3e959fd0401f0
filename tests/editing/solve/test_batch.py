"""From values to the change of a batch's layers, with repair rounds, on a tiny model in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from api_schemas.facts import Fact
from editing.covariance.key_metric import InverseSecondMoment
from editing.covariance.method_metric import key_metrics
from editing.covariance.protected import WithPastKeys
from editing.covariance.statistic import Statistic, make_statistic
from editing.errors import SingularSolveError
from editing.methods import ALGORITHMS, EditSettings
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.solve.batch import BatchEdit, Earlier, solve_batch
from editing.solve.closed_form import factor_keys, solve
from editing.solve.layers import changed, edit_layers
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.optimisation import optimise_values
from editing.values.value_set import Values
from tests.support.tiny_models import tiny_contexts, tiny_groups, tiny_model, tiny_tokenizer

D_IN, D_OUT = 48, 32


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(tiny_model("llama"))


@pytest.fixture(scope="module")
def groups() -> tuple[SubjectGroup, ...]:
    return tiny_groups(tiny_tokenizer())


@pytest.fixture(scope="module")
def contexts() -> tuple[Context, ...]:
    return tiny_contexts(tiny_tokenizer())


@pytest.fixture(scope="module")
def statistics() -> dict[int, Statistic]:
    text = torch.randn(D_IN, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {
        layer: make_statistic(text @ text.T / 400, layer=layer, tokens=400, corpus="random", fingerprint="f")
        for layer in range(4)
    }


def settings(*layers: int, **overrides: object) -> EditSettings:
    return EditSettings.model_validate({"layers": layers, "steps": 3, "repair_steps": 2, "mu": 0.5, **overrides})


class Listener:
    """Says what is not said round by round, and keeps the matrices that it was shown."""

    def __init__(self, *rounds: Sequence[int]) -> None:
        self._rounds: Iterator[Sequence[int]] = iter(rounds)
        self.shown: list[Matrices] = []
        self.listened: list[int] = []

    def __call__(self, matrices: Matrices, listened: Sequence[SubjectGroup]) -> Sequence[int]:
        self.shown.append(matrices)
        self.listened.append(len(listened))
        return next(self._rounds)


class Batch:
    """A tiny batch, solved with any settings."""

    def __init__(
        self,
        decoder: Decoder,
        statistics: dict[int, Statistic],
        groups: Sequence[SubjectGroup],
        contexts: Sequence[Context],
        earlier: Sequence[SubjectGroup] = (),
    ) -> None:
        self.decoder, self.statistics, self.groups, self.contexts = decoder, statistics, groups, contexts
        self.earlier = earlier

    def values(self, chosen: EditSettings, matrices: Matrices | None = None) -> Values:
        return optimise_values(self.decoder, matrices or {}, self.groups, self.contexts, chosen)

    def solve(
        self, chosen: EditSettings, *unsaid: Sequence[int], lost: Sequence[Sequence[int]] = ()
    ) -> tuple[BatchEdit, Listener, Values]:
        values, listener = self.values(chosen), Listener(*unsaid)
        self.lost = Listener(*lost)
        metrics = key_metrics(ALGORITHMS["emmet"], self.statistics, chosen)
        edit = solve_batch(
            self.decoder,
            {},
            metrics,
            self.groups,
            self.contexts,
            values,
            chosen,
            listener,
            earlier=Earlier(self.earlier, self.lost),
        )
        return edit, listener, values


@pytest.fixture
def batch(decoder: Decoder, statistics: dict[int, Statistic], groups: tuple[SubjectGroup, ...], contexts) -> Batch:
    return Batch(decoder, statistics, groups, contexts)


def test_in_one_layer_the_rounds_are_one_solve_of_the_summed_residual_at_the_same_keys_and_mu(batch: Batch) -> None:
    chosen = settings(1, repair_rounds=2)
    edit, _, values = batch.solve(chosen, [0, 3], [3])

    assert edit.repaired == (2, 1)
    one = edit.layers[1]
    assert torch.equal(one.keys, values.keys.T)
    assert len(one.solutions) == 3
    again = solve(values.keys.T, one.residual, InverseSecondMoment(batch.statistics[1].factor), mu=0.5).matrix()
    torch.testing.assert_close(one.delta(), again, rtol=1e-10, atol=1e-12)
    assert one.factors is not None
    assert one.factors[0].shape == (len(batch.groups), D_IN)


def test_a_repair_round_asks_for_no_change_where_a_fact_holds(batch: Batch) -> None:
    """And, where one does not, for the value that is found on top of the edited weights."""
    chosen = settings(1, repair_rounds=1)
    edit, listener, values = batch.solve(chosen, [1, 4])

    more = edit.layers[1].residual.T - values.deltas
    assert torch.equal(more[[0, 2, 3]], torch.zeros(3, D_OUT, dtype=torch.float64))
    repair = chosen.model_copy(update={"steps": chosen.repair_steps})
    found = optimise_values(
        batch.decoder, listener.shown[0], [batch.groups[1], batch.groups[4]], batch.contexts, repair
    )
    torch.testing.assert_close(more[[1, 4]], found.deltas, rtol=1e-9, atol=1e-9)
    assert float(found.deltas.norm(dim=1).min()) > 0


def test_where_everything_is_said_nothing_is_repaired(batch: Batch) -> None:
    edit, listener, values = batch.solve(settings(1, repair_rounds=3), [])
    assert edit.repaired == ()
    assert len(listener.shown) == 1
    assert torch.equal(edit.layers[1].residual, values.deltas.T)
    assert len(edit.layers[1].solutions) == 1


def test_without_repair_rounds_nobody_listens(batch: Batch) -> None:
    _, listener, _ = batch.solve(settings(1, repair_rounds=0))
    assert listener.shown == []


def test_who_listens_is_shown_the_weights_with_all_rounds_so_far(batch: Batch) -> None:
    chosen = settings(1, 2, repair_rounds=3)
    edit, listener, _ = batch.solve(chosen, [0], [0, 1], [])
    assert edit.repaired == (1, 2)
    for layer in (1, 2):
        total = sum(solution.matrix() for solution in edit.layers[layer].solutions)
        projection = batch.decoder.projections[layer]
        torch.testing.assert_close(listener.shown[2][layer], changed(projection, None, total))
        torch.testing.assert_close(edit.layers[layer].delta(), total)
        assert not torch.equal(listener.shown[0][layer], listener.shown[1][layer])


def test_over_several_layers_a_round_moves_the_stream_from_where_it_is(batch: Batch) -> None:
    """The facts that hold are asked to stay where they are, so that the round's changes there are small."""
    edit, _, _ = batch.solve(settings(1, 2, repair_rounds=1, mu=0.0), [2])
    first, second = edit.layers[1].solutions
    asked = edit.layers[1].residual - _first_residual(batch, settings(1, 2, mu=0.0))
    assert float(asked[:, [0, 1, 3, 4]].abs().max()) < 1e-9
    assert float(asked[:, 2].norm()) > 1e-3
    assert not torch.equal(first.matrix(), second.matrix())


def _first_residual(batch: Batch, chosen: EditSettings) -> Tensor:
    seen: dict[int, Tensor] = {}

    def record(layer: int, keys: Tensor, residual: Tensor) -> Tensor:
        seen[layer] = residual
        return solve(keys, residual, InverseSecondMoment(batch.statistics[layer].factor), mu=chosen.mu).matrix()

    edit_layers(batch.decoder, {}, batch.groups, batch.contexts, batch.values(chosen), chosen.layers, record)
    return seen[1]


def test_rounds_over_several_layers_are_kept_dense_where_their_factors_would_be_larger(batch: Batch) -> None:
    """Five keys and 5 · (48 + 32) numbers a round: four rounds of them are more than 48 · 32."""
    chosen = settings(1, 2, repair_rounds=3)
    few, _, _ = batch.solve(chosen, [0], [])
    many, _, _ = batch.solve(chosen, [0], [0], [0])
    for layer in (1, 2):
        pair = few.layers[layer].factors
        assert pair is not None
        assert pair[0].shape == (2 * len(batch.groups), D_IN)
        torch.testing.assert_close(pair[1] @ pair[0], few.layers[layer].delta())
        assert many.layers[layer].factors is None
        report = many.layers[layer].report(batch.decoder.projections[layer].weight, batch.statistics[layer])
        norm = many.layers[layer].delta().norm() / batch.decoder.projections[layer].weight.norm()
        assert report.relative_norm == pytest.approx(float(norm))


def test_more_facts_than_inputs_are_solved_with_the_mu_that_they_need(
    decoder: Decoder, statistics: dict[int, Statistic], contexts: tuple[Context, ...]
) -> None:
    tokenizer = tiny_tokenizer()
    names = [f"{first}{second}" for first in "ABCDEFGH" for second in "klmnopqr"]
    facts = [Fact(prompt="The twin city of {} is", subject=name, target_new="Lyon") for name in names]
    assert len(facts) > D_IN
    many = Batch(decoder, statistics, tiny_groups(tokenizer, facts), contexts)
    chosen = settings(1, steps=1, mu=0.0, repair_rounds=1, repair_steps=1)

    edit, _, values = many.solve(chosen, [5])

    one = edit.layers[1]
    assert one.factors is None
    assert one.delta().shape == (D_OUT, D_IN)
    mu = one.solutions[0].mu_used
    assert mu > 0
    assert [solution.mu_used for solution in one.solutions] == [mu, mu]
    K, R, C = values.keys.T, one.residual, statistics[1].C
    expected = torch.linalg.solve(mu * C + K @ K.T, K @ R.T).T
    torch.testing.assert_close(one.delta(), expected, rtol=1e-6, atol=1e-8)
    with pytest.raises(SingularSolveError, match=r"64 facts, room for 48"):
        many.solve(chosen.model_copy(update={"strict": True}), [])


def test_a_relative_mu_is_taken_from_each_layers_own_keys(batch: Batch) -> None:
    edit, _, _ = batch.solve(settings(1, 2, mu=None, mu_relative=0.3, repair_rounds=0))
    asked = []
    for layer, one in edit.layers.items():
        gram = one.keys.T @ torch.linalg.solve(batch.statistics[layer].C, one.keys)
        asked.append(0.3 * float(gram.diagonal().mean()))
        assert one.solutions[0].mu_used == pytest.approx(asked[-1])
    assert asked[0] != pytest.approx(asked[1])


@pytest.mark.parametrize("layers", [(1,), (1, 2)])
def test_a_strict_batch_is_refused_whatever_the_number_of_layers(batch: Batch, layers: tuple[int, ...]) -> None:
    (second,) = batch.groups[1].facts
    twins = (dataclasses.replace(second, index=7), dataclasses.replace(second, index=9))
    twin = [*batch.groups, SubjectGroup("another name", twins)]
    alike = Batch(batch.decoder, batch.statistics, twin, batch.contexts)
    with pytest.raises(
        SingularSolveError, match=r"nearly dependent .*; those of facts 1 and of facts 7, 9 are the"
    ) as e:
        alike.solve(settings(*layers, mu=0.0, strict=True))
    assert e.value.facts == (1, 7, 9)
    edit, _, _ = alike.solve(settings(*layers, mu=0.0, repair_rounds=0))
    assert all(one.solutions[0].mu_used > 0 for one in edit.layers.values())


def test_one_layers_keys_are_factored_once(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments, **named):
        calls.append(arguments[0].shape)
        return factor_keys(*arguments, **named)

    monkeypatch.setattr("editing.solve.batch.factor_keys", counted)
    batch.solve(settings(1, repair_rounds=2), [0], [0])
    assert len(calls) == 1


@pytest.fixture
def later(
    decoder: Decoder, statistics: dict[int, Statistic], groups: tuple[SubjectGroup, ...], contexts: tuple[Context, ...]
) -> Batch:
    """A batch after which two other groups may not be said any more."""
    return Batch(decoder, statistics, groups[2:], contexts, earlier=groups[:2])


def test_an_earlier_group_that_is_lost_gets_a_column_of_its_own(later: Batch, decoder: Decoder) -> None:
    """One layer: its key does not change from round to round, so that all is one solve over both kinds of keys."""
    chosen, own = settings(1, repair_rounds=2), len(later.groups)
    edit, listener, values = later.solve(chosen, [0], [], lost=[[1], [0]])

    assert (edit.restated, edit.repaired) == ((1,), (1, 0))
    assert (listener.listened, later.lost.listened) == ([own, own], [2, 1])  # then of those that take part
    one = edit.layers[1]
    assert one.keys.shape[1] == own + 1
    assert torch.equal(one.keys[:, :own], values.keys.T)
    lost = optimise_values(decoder, listener.shown[0], [later.earlier[1]], later.contexts, chosen)
    torch.testing.assert_close(one.keys[:, own], lost.keys[0])
    assert edit.wanted is not None
    assert edit.wanted.shape[0] == own

    metric = InverseSecondMoment(later.statistics[1].factor)
    first = solve(values.keys.T, values.deltas.T, metric, mu=0.5).matrix()
    both = solve(one.keys, one.residual - _padded(values.deltas.T, own + 1), metric, mu=0.5).matrix()
    torch.testing.assert_close(one.delta(), first + both, rtol=1e-9, atol=1e-12)


def _padded(residual: Tensor, columns: int) -> Tensor:
    return torch.cat([residual, residual.new_zeros(residual.shape[0], columns - residual.shape[1])], 1)


def test_over_several_layers_its_column_follows_the_batchs_own_in_each(later: Batch) -> None:
    own = len(later.groups)
    edit, _, _ = later.solve(settings(1, 2, repair_rounds=1), [], lost=[[0]])
    for one in edit.layers.values():
        assert one.keys.shape[1] == one.residual.shape[1] == own + 1
        factors = one.factors
        assert factors is None or factors[0].shape[0] == 2 * own + 1


def test_earlier_groups_that_are_said_still_change_nothing(later: Batch) -> None:
    chosen = settings(1, 2, repair_rounds=1)
    heard, _, _ = later.solve(chosen, [1], lost=[[]])
    later.earlier = ()
    unheard, _, _ = later.solve(chosen, [1], lost=[[]])
    assert heard.restated == ()
    for layer, one in heard.layers.items():
        assert torch.equal(one.delta(), unheard.layers[layer].delta())


def test_a_past_key_of_a_group_that_is_written_again_does_not_hold_it_back(later: Batch) -> None:
    """Beside its own key, however heavy, it would get nothing."""
    chosen, own = settings(1, repair_rounds=1, protect="weighted", protect_weight=1e6), len(later.groups)
    metric = InverseSecondMoment(later.statistics[1].factor)
    values = later.values(chosen)
    of_lost = optimise_values(later.decoder, {}, [later.earlier[0]], later.contexts, chosen)
    past = WithPastKeys(metric, of_lost.keys.T, 1e6)
    edit = solve_batch(
        later.decoder,
        {},
        {1: past},
        later.groups,
        later.contexts,
        values,
        chosen,
        Listener([]),
        earlier=Earlier(later.earlier, Listener([0])),
    )
    written = edit.layers[1].solutions[-1].matrix() @ edit.layers[1].keys[:, own]
    assert float(written.norm()) > 0.1 * float(edit.layers[1].residual[:, own].norm())
