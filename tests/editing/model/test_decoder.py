"""A decoder's layers, run one by one, are the model: causal, whatever attention it was loaded with."""

from __future__ import annotations

import pytest
import torch

from editing.model.decoder import Decoder
from tests.support.tiny_models import CONFIGS, EAGER_ONLY, VOCABULARY, tiny_model

ATTENTIONS = [(name, "eager") for name in CONFIGS] + [(name, "sdpa") for name in CONFIGS if name not in EAGER_ONLY]
TOKENS = torch.arange(2 * 24).reshape(2, 24) * 7 % VOCABULARY


def run(decoder: Decoder, tokens: torch.Tensor) -> torch.Tensor:
    """The stream after the last layer, with no mask given."""
    positions = torch.arange(tokens.shape[1]).expand(tokens.shape)
    return decoder.run_layers(decoder.embed(tokens, positions), positions, None, 0, len(decoder.layers))


@pytest.mark.parametrize(("name", "attention"), ATTENTIONS)
def test_without_a_mask_attention_is_causal(name: str, attention: str) -> None:
    decoder = Decoder(tiny_model(name, attention=attention))
    assert decoder.config._attn_implementation == attention
    stream = run(decoder, TOKENS)
    changed = TOKENS.clone()
    changed[:, 15:] = (changed[:, 15:] + 11) % VOCABULARY
    after = run(decoder, changed)
    torch.testing.assert_close(after[:, :15], stream[:, :15], rtol=1e-9, atol=1e-9)
    assert (after[:, 15:] - stream[:, 15:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize(("name", "attention"), ATTENTIONS)
def test_layer_by_layer_the_logits_are_the_models_own(name: str, attention: str) -> None:
    model = tiny_model(name, attention=attention)
    with torch.no_grad():
        expected = model(input_ids=TOKENS).logits
        found = (decoder := Decoder(model)).logits(run(decoder, TOKENS))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
