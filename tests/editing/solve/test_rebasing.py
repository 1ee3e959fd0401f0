"""A layer carried over to another parent gives the same outputs at its keys there."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from editing.covariance.key_metric import InverseSecondMoment
from editing.covariance.statistic import make_statistic
from editing.errors import SingularSolveError
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.solve.batch import LayerEdit
from editing.solve.closed_form import solve
from editing.solve.layers import changed, edit_layers
from editing.solve.rebasing import hold_where, rebased, values_at_keys, values_in_stream
from editing.values.keys import subject_states
from editing.values.optimisation import optimise_values
from tests.editing.solve.test_layers import least_squares
from tests.support.tiny_models import tiny_groups, tiny_model, tiny_tokenizer

D_OUT, D_IN, E = 10, 16, 5


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_outputs_at_the_keys_are_those_that_were_wanted(generator: torch.Generator, mu: float) -> None:
    text = random(generator, D_IN, 100)
    statistic = make_statistic(text @ text.T / 100, layer=3, tokens=100, corpus="random", fingerprint="f")
    keys, residual = random(generator, D_IN, E), random(generator, D_OUT, E)
    settings = EditSettings(layers=(3,), mu=mu)
    metric = InverseSecondMoment(statistic.factor)
    edit = LayerEdit(3, keys, residual, (solve(keys, residual, metric, mu=mu),))
    before, after = random(generator, D_OUT, D_IN), random(generator, D_OUT, D_IN)

    again = rebased(edit, before, after, metric, settings)

    torch.testing.assert_close(after @ keys + again.residual, before @ keys + residual)
    torch.testing.assert_close(again.delta(), solve(keys, again.residual, metric, mu=mu).matrix())
    if mu == 0:
        torch.testing.assert_close((after + again.delta()) @ keys, (before + edit.delta()) @ keys)


def test_a_strict_batch_is_refused_there_as_it_would_be_here(generator: torch.Generator) -> None:
    statistic = make_statistic(torch.eye(D_IN).double(), layer=3, tokens=1, corpus="none", fingerprint="f")
    one = random(generator, D_IN, 1)
    keys, residual = torch.cat([one, one + 1e-9], 1), random(generator, D_OUT, 2)
    metric = InverseSecondMoment(statistic.factor)
    edit = LayerEdit(3, keys, residual, (solve(keys, residual, metric),))
    weight = random(generator, D_OUT, D_IN)
    with pytest.raises(SingularSolveError):
        rebased(edit, weight, weight, metric, EditSettings(layers=(3,), mu=0.0, strict=True))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize(
    ("layers", "differing"), [((2,), {2}), ((2,), {0, 2}), ((1, 2), {0, 1, 2})], ids=["alone", "one", "several"]
)
def test_on_another_parent_the_stream_reaches_the_states_that_were_wanted(
    name: str, layers: tuple[int, ...], differing: set[int], generator: torch.Generator
) -> None:
    """Without contexts, so that keys are the bare prompts' own and wanted states are met."""
    decoder, groups = Decoder(tiny_model(name)), tiny_groups(tiny_tokenizer())
    assert hold_where(decoder, layers, differing)
    values = optimise_values(decoder, {}, groups, (), EditSettings(layers=layers, steps=4))
    projections = decoder.projections
    after = {
        layer: changed(
            projections[layer], None, 0.1 * random(generator, projections[layer].d_out, projections[layer].d_in)
        )
        for layer in differing
    }
    carried = values
    if differing == {2}:
        found = (projections[2].weight.detach(), after[2])
        carried = values_at_keys(values, *(one.T if projections[2].transposed else one for one in found))
    elif len(layers) == 1:
        carried = values_in_stream(decoder, values, after, groups, ())

    deltas = edit_layers(decoder, after, groups, (), carried, layers, least_squares)
    edited = {**after, **{n: changed(projections[n], after.get(n), delta) for n, delta in deltas.items()}}

    reached = subject_states(decoder, edited, groups, (), [], 2).stream
    wanted = values.states + values.deltas
    unmoved = subject_states(decoder, after, groups, (), [], 2).stream
    assert not torch.allclose(unmoved + values.deltas, wanted, atol=1e-2)
    torch.testing.assert_close(reached, wanted, rtol=1e-4, atol=1e-4)


def test_values_hold_where_no_layer_above_them_differs() -> None:
    decoder = Decoder(tiny_model("llama"))
    assert hold_where(decoder, (1, 2), {0, 2})
    assert not hold_where(decoder, (1, 2), {3})
    assert not hold_where(decoder, (1,), {1, 2})
    decoder.architecture = dataclasses.replace(decoder.architecture, norm_after_mlp=True)
    assert hold_where(decoder, (2,), {2})
    assert not hold_where(decoder, (2,), {1, 2})
