"""Rotary scaling that changes with a text's length: read up to where it does not, or refused."""

from __future__ import annotations

import pytest
import torch

from benchmarks.plain_values import plain_value
from editing.errors import UnsupportedModelError
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.values.optimisation import optimise_values
from tests.support.tiny_models import FACTS, VOCABULARY, tiny_groups, tiny_model, tiny_tokenizer

YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 24}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [4.0, 5.0, 6.0, 7.0],
    "original_max_position_embeddings": 24,
}
HALF = LONG | {"short_factor": [1.0, 1.5], "long_factor": [4.0, 5.0]}
"""For a model that turns half of each head."""


@pytest.mark.parametrize(
    ("name", "rope", "length"), [("llama", YARN, 96), ("llama", DYNAMIC, 96), ("llama", LONG, 24), ("phi3", HALF, 24)]
)
def test_up_to_its_context_length_a_model_is_transformers_own(name: str, rope: dict[str, object], length: int) -> None:
    model = tiny_model(name, rope_parameters=dict(rope), original_max_position_embeddings=24)
    decoder = Decoder(model)
    assert decoder.context_length == length
    tokens = torch.arange(2 * length).reshape(2, length) * 7 % VOCABULARY
    positions = torch.arange(length).expand(tokens.shape)
    with torch.no_grad():
        whole = decoder.logits(decoder.run_layers(decoder.embed(tokens, positions), positions, None, 0, 4))
        torch.testing.assert_close(whole, model(input_ids=tokens).logits, rtol=1e-9, atol=1e-9)
        part = decoder.run_layers(decoder.embed(tokens[:, :5], positions[:, :5]), positions[:, :5], None, 0, 4)
        torch.testing.assert_close(decoder.logits(part), whole[:, :5], rtol=1e-9, atol=1e-9)


def test_values_are_sought_beside_rows_that_are_served() -> None:
    """Transformers keeps what it makes of LongRoPE's factors in the shared model, whichever thread asked first."""
    tokenizer, chosen = tiny_tokenizer(), EditSettings(layers=(1,), steps=2)
    groups, contexts = tiny_groups(tokenizer, FACTS[:3]), ()
    model = tiny_model("llama", rope_parameters=dict(LONG))
    decoder = Decoder(model)
    positions = torch.arange(5)[None]
    with torch.inference_mode():
        decoder.run_layers(decoder.embed(positions, positions), positions, None, 0, 4)
    values = optimise_values(decoder, {}, groups, contexts, chosen)
    other = tiny_model("llama", rope_parameters=dict(LONG))
    expected = torch.stack([plain_value(other, group, contexts, chosen).delta for group in groups])
    torch.testing.assert_close(values.deltas, expected, rtol=0, atol=1e-8)


def test_scaling_that_is_not_known_is_refused() -> None:
    model = tiny_model("llama")
    model.config.rope_parameters = {"rope_type": "spiral", "rope_theta": 1e4}
    with pytest.raises(UnsupportedModelError, match="llama model with rope_parameters of rope_type='spiral' cannot"):
        Decoder(model)
