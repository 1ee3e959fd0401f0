"""Fields of a configuration as checkpoints of each family have them, older ones included, at a tiny width."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from editing.architectures import ARCHITECTURES
from editing.model.decoder import Decoder
from tests.support.tiny_models import VOCABULARY

SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 7,
}
FACTORS = {"short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]}
PUBLISHED: dict[str, tuple[dict[str, Any], int, dict[int, int]]] = {
    "mistral 0.1": (
        {"model_type": "mistral", "max_position_embeddings": 32768, "sliding_window": 4096},
        32768,
        dict.fromkeys(range(7), 4096),
    ),
    "mistral 0.3": (
        {"model_type": "mistral", "max_position_embeddings": 32768, "rope_theta": 1e6, "sliding_window": None},
        32768,
        {},
    ),
    "qwen 2.5": (
        {
            "model_type": "qwen2",
            "max_position_embeddings": 32768,
            "max_window_layers": 6,
            "rope_theta": 1e6,
            "sliding_window": 32768,
            "use_sliding_window": False,
        },
        32768,
        {},
    ),
    "qwen 2.5 with yarn": (
        {
            "model_type": "qwen2",
            "max_position_embeddings": 32768,
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
        },
        32768,
        {},
    ),
    "qwen 2 with windows": (
        {
            "model_type": "qwen2",
            "max_position_embeddings": 32768,
            "max_window_layers": 5,
            "sliding_window": 20,
            "use_sliding_window": True,
        },
        32768,
        {5: 20, 6: 20},
    ),
    "qwen 3": (
        {
            "model_type": "qwen3",
            "attention_bias": False,
            "head_dim": 32,
            "max_position_embeddings": 40960,
            "max_window_layers": 7,
            "rope_scaling": None,
            "rope_theta": 1e6,
            "sliding_window": None,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
        },
        40960,
        {},
    ),
    "phi 3 mini 4k": (
        {
            "model_type": "phi3",
            "max_position_embeddings": 4096,
            "original_max_position_embeddings": 4096,
            "rope_scaling": None,
            "sliding_window": 2047,
            "pad_token_id": 1,
        },
        4096,
        dict.fromkeys(range(7), 2047),
    ),
    "phi 4 mini": (
        {
            "model_type": "phi3",
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "partial_rotary_factor": 0.75,
            "rope_scaling": {"type": "longrope", **FACTORS},
            "sliding_window": 262144,
            "tie_word_embeddings": True,
            "pad_token_id": 1,
        },
        4096,
        dict.fromkeys(range(7), 262144),
    ),
    "olmo 2": (
        {
            "model_type": "olmo2",
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "rope_theta": 500000,
            "attention_bias": False,
        },
        4096,
        {},
    ),
    "gemma 2": (
        {
            "model_type": "gemma2",
            "head_dim": 16,
            "max_position_embeddings": 8192,
            "sliding_window": 4096,
            "query_pre_attn_scalar": 16,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "hidden_act": "gelu_pytorch_tanh",
            "cache_implementation": "hybrid",
        },
        8192,
        {0: 4096, 2: 4096, 4: 4096, 6: 4096},
    ),
    "gemma 3 1b": (
        {
            "model_type": "gemma3_text",
            "head_dim": 16,
            "max_position_embeddings": 32768,
            "sliding_window": 20,
            "sliding_window_pattern": 6,
            "query_pre_attn_scalar": 16,
            "rope_local_base_freq": 10000,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
        },
        32768,
        {n: 20 for n in range(7) if n != 5},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_is_transformers_own(name: str) -> None:
    fields, context_length, windows = PUBLISHED[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SMALL | fields)).eval()
    decoder = Decoder(model)
    assert decoder.context_length == context_length
    assert {layer: window for layer, window in enumerate(decoder.windows) if window is not None} == windows
    tokens = torch.arange(2 * 40).reshape(2, 40) * 7 % VOCABULARY
    positions = torch.arange(40).expand(tokens.shape)
    with torch.no_grad():
        stream = decoder.run_layers(decoder.embed(tokens, positions), positions, None, 0, 7)
        torch.testing.assert_close(decoder.logits(stream), model(input_ids=tokens).logits, rtol=1e-5, atol=1e-5)


def test_every_family_that_has_such_fields_is_here() -> None:
    assert {fields["model_type"] for fields, *_ in PUBLISHED.values()} == set(ARCHITECTURES) - {"gpt2", "gptj", "llama"}
