"""Rotary scaling that changes with a text's length: read up to where it does not, or refused."""

from __future__ import annotations

import pytest
import torch

from editing.decoder import Decoder
from editing.errors import UnsupportedModelError
from tests.editing.tiny_models import VOCABULARY, tiny_model

YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 24}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [4.0, 5.0, 6.0, 7.0],
    "original_max_position_embeddings": 24,
}


@pytest.mark.parametrize(("rope", "length"), [(YARN, 96), (DYNAMIC, 96), (LONG, 24)], ids=["yarn", "dynamic", "long"])
def test_up_to_its_context_length_a_model_is_transformers_own(rope: dict[str, object], length: int) -> None:
    model = tiny_model("llama", rope_parameters=rope)
    decoder = Decoder(model)
    assert decoder.context_length == length
    tokens = torch.arange(2 * length).reshape(2, length) * 7 % VOCABULARY
    positions = torch.arange(length).expand(tokens.shape)
    with torch.no_grad():
        whole = decoder.logits(decoder.run_layers(decoder.embed(tokens, positions), positions, None, 0, 4))
        torch.testing.assert_close(whole, model(input_ids=tokens).logits, rtol=1e-9, atol=1e-9)
        part = decoder.run_layers(decoder.embed(tokens[:, :5], positions[:, :5]), positions[:, :5], None, 0, 4)
        torch.testing.assert_close(decoder.logits(part), whole[:, :5], rtol=1e-9, atol=1e-9)


def test_scaling_that_is_not_known_is_refused() -> None:
    model = tiny_model("llama")
    model.config.rope_parameters = {"rope_type": "spiral", "rope_theta": 1e4}
    with pytest.raises(UnsupportedModelError, match="llama model with rope_parameters of rope_type='spiral' cannot"):
        Decoder(model)
