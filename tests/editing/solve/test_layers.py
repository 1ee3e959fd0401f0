"""One batch spread over several layers, against MEMIT's own loop written down plainly on a merged model."""

from __future__ import annotations

import pytest
import torch

from editing.errors import UnsupportedModelError
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.solve.layers import changed, edit_layers
from editing.values.keys import subject_states
from editing.values.optimisation import optimise_values
from tests.support.tiny_models import (
    ONE_LAYER_ONLY,
    SPREADABLE,
    tiny_contexts,
    tiny_groups,
    tiny_model,
    tiny_tokenizer,
)

SETTINGS = EditSettings(layers=(0, 1, 2), steps=4)


def least_squares(_: int, keys: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Δ = R (KᵀK + εI)⁻¹ Kᵀ: met but for ε."""
    gram = keys.T @ keys + 1e-9 * torch.eye(keys.shape[1], dtype=keys.dtype)
    return residual @ torch.linalg.solve(gram, keys.T)


@pytest.mark.parametrize("name", SPREADABLE)
def test_each_layer_takes_its_share_of_what_the_stream_still_lacks(name: str) -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    values = optimise_values(decoder, {}, groups, contexts, SETTINGS)
    before = {n: projection.weight.clone() for n, projection in enumerate(decoder.projections)}
    deltas = edit_layers(decoder, {}, groups, contexts, values, (2, 0, 1), least_squares)
    assert sorted(deltas) == [0, 1, 2]
    assert all(torch.equal(projection.weight, before[n]) for n, projection in enumerate(decoder.projections))

    merged = Decoder(tiny_model(name))
    wanted = values.states + values.deltas
    for left, layer in zip((3, 2, 1), (0, 1, 2), strict=True):
        now = subject_states(merged, {}, groups, contexts, [layer], 2)
        delta = least_squares(layer, now.keys[layer].T, ((wanted - now.stream) / left).T)
        torch.testing.assert_close(deltas[layer], delta, rtol=1e-7, atol=1e-7)
        projection = merged.projections[layer]
        projection.weight.data.copy_(changed(projection, None, delta))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_without_contexts_the_stream_moves_to_the_wanted_state(name: str) -> None:
    """The last layer takes all that is left; keys are then the bare prompts' own, so that it is met."""
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    groups = tiny_groups(tokenizer)
    values = optimise_values(decoder, {}, groups, (), SETTINGS)
    deltas = edit_layers(decoder, {}, groups, (), values, (1, 2), least_squares)
    matrices = {layer: changed(decoder.projections[layer], None, delta) for layer, delta in deltas.items()}
    reached = subject_states(decoder, matrices, groups, (), [], 2).stream
    torch.testing.assert_close(reached, values.states + values.deltas, rtol=1e-5, atol=1e-5)


def test_one_layer_takes_the_values_as_they_are() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    values = optimise_values(decoder, {}, groups, contexts, SETTINGS)
    delta = edit_layers(decoder, {}, groups, contexts, values, [2], least_squares)[2]
    torch.testing.assert_close(delta, least_squares(2, values.keys.T, values.deltas.T))


@pytest.mark.parametrize("name", ONE_LAYER_ONLY)
def test_several_layers_are_refused_where_a_norm_stands_after_the_mlp(name: str) -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    values = optimise_values(decoder, {}, groups, contexts, SETTINGS)
    with pytest.raises(UnsupportedModelError, match=rf"layers \[1, 2\] .* in {name} models, .*give one layer"):
        edit_layers(decoder, {}, groups, contexts, values, (1, 2), least_squares)
    edited = edit_layers(decoder, {}, groups, contexts, values, (2,), least_squares)
    torch.testing.assert_close(edited[2], least_squares(2, values.keys.T, values.deltas.T))
