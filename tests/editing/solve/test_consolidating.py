"""Values that were found on a worn version are used again at the base, where they want what they wanted."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from editing.covariance.key_metric import InverseSecondMoment
from editing.covariance.statistic import make_statistic
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.solve.batch import solve_batch
from editing.solve.consolidating import (
    LEAST_REPAIR_ROUNDS,
    holds_at_base,
    is_read_bare,
    kept_values,
    repairing,
)
from editing.solve.layers import changed, edit_layers
from editing.values.keys import subject_states
from editing.values.optimisation import optimise_values
from editing.values.value_set import Values, in_group_order
from tests.editing.solve.test_layers import least_squares
from tests.support.tiny_models import tiny_groups, tiny_model, tiny_tokenizer


def moved(decoder: Decoder, layers: tuple[int, ...]) -> Matrices:
    """A version that differs from the base in `layers`."""
    generator = torch.Generator().manual_seed(0)
    return {
        layer: changed(one, None, 0.1 * torch.randn(one.d_out, one.d_in, dtype=torch.float64, generator=generator))
        for layer in layers
        for one in [decoder.projections[layer]]
    }


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("layers", [(2,), (1, 2)], ids=["one", "several"])
def test_the_base_reaches_the_states_that_were_wanted_on_a_worn_version(name: str, layers: tuple[int, ...]) -> None:
    """Without contexts, so that keys are the bare prompts' own and wanted states are met."""
    decoder, groups = Decoder(tiny_model(name)), tiny_groups(tiny_tokenizer())
    found = optimise_values(decoder, moved(decoder, (0, 1, 2)), groups, (), EditSettings(layers=layers, steps=4))
    wanted = found.states + found.deltas

    kept = kept_values(decoder, {}, groups, (), wanted, layers[-1])

    at_base = subject_states(decoder, {}, groups, (), [2], 2)
    torch.testing.assert_close(kept.states, at_base.stream)
    torch.testing.assert_close(kept.keys, at_base.keys[2])
    assert not torch.allclose(kept.deltas, found.deltas, atol=1e-2)
    assert kept.steps.tolist() == [0] * len(groups)
    deltas = edit_layers(decoder, {}, groups, (), kept, layers, least_squares)
    edited = {layer: changed(decoder.projections[layer], None, delta) for layer, delta in deltas.items()}
    reached = subject_states(decoder, edited, groups, (), [], 2).stream
    torch.testing.assert_close(reached, wanted, rtol=1e-4, atol=1e-4)


def test_a_solve_tells_the_states_that_each_group_was_last_optimised_for() -> None:
    decoder, groups = Decoder(tiny_model("llama")), tiny_groups(tiny_tokenizer())
    settings = EditSettings(layers=(1, 2), steps=4, repair_rounds=1, mu=1.0)
    values = optimise_values(decoder, {}, groups, (), settings)
    text = torch.randn(48, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    statistic = make_statistic(text @ text.T / 400, layer=1, tokens=400, corpus="random", fingerprint="f")
    metrics = dict.fromkeys(settings.layers, InverseSecondMoment(statistic.factor))

    whole = solve_batch(decoder, {}, metrics, groups, (), values, settings, lambda *_: [])
    repaired = solve_batch(decoder, {}, metrics, groups, (), values, settings, lambda *_: [1])

    assert whole.wanted is not None
    assert repaired.wanted is not None
    torch.testing.assert_close(whole.wanted, (values.states + values.deltas).double())
    others = [number for number in range(len(groups)) if number != 1]
    torch.testing.assert_close(repaired.wanted[others], whole.wanted[others])
    assert not torch.allclose(repaired.wanted[1], whole.wanted[1], atol=1e-4)


def test_values_of_two_sets_are_in_the_groups_order() -> None:
    def values(numbers: list[int]) -> Values:
        column = torch.tensor(numbers, dtype=torch.float32)[:, None]
        return Values(2, column, column + 10, column + 20, column[:, 0], column[:, 0].long(), column[:, 0] > 1)

    both = in_group_order([values([0, 3]), values([1, 2, 4])], [0, 3, 1, 2, 4])
    whole = values([0, 1, 2, 3, 4])
    for field in dataclasses.fields(Values):
        found, expected = getattr(both, field.name), getattr(whole, field.name)
        assert found == expected if field.name == "layer" else torch.equal(found, expected)


def test_states_hold_at_the_base_where_no_layer_above_differed() -> None:
    decoder = Decoder(tiny_model("llama"))
    assert holds_at_base(decoder, set(), 2)
    assert holds_at_base(decoder, {0, 2}, 2)
    assert not holds_at_base(decoder, {3}, 2)
    decoder.architecture = dataclasses.replace(decoder.architecture, norm_after_mlp=True)
    assert not holds_at_base(decoder, set(), 2)


def test_states_after_context_texts_are_not_kept() -> None:
    for group in tiny_groups(tiny_tokenizer()):
        begins = any(fact.begins_text for fact in group.facts)
        assert is_read_bare(group, 0)
        assert is_read_bare(group, 5) is not begins


def test_a_consolidation_repairs_at_least_so_often() -> None:
    assert repairing(EditSettings(layers=(1,), repair_rounds=0)).repair_rounds == LEAST_REPAIR_ROUNDS
    assert repairing(EditSettings(layers=(1,), repair_rounds=4)).repair_rounds == 4
