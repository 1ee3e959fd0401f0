"""Requests for memory plans of tiny models, and of the published sizes by their configurations alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPTJConfig, LlamaConfig, PretrainedConfig

from api_schemas.settings import SettingsOverrides
from editing.methods import ALGORITHMS, ModelShape, resolve_settings
from editing.model.decoder import Decoder
from editing.model.weightless import weightless_decoder
from tests.support.tiny_models import CONFIGS
from workers.memory_plan.parts import HOST
from workers.memory_plan.request import PlanRequest

MakeRequest = Callable[..., PlanRequest]
PUBLISHED: dict[str, PretrainedConfig] = {
    "llama-2-7b": LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=4096,
        vocab_size=32000,
    ),
    "gpt-j": GPTJConfig(n_embd=4096, n_layer=28, n_head=16, n_positions=2048, vocab_size=50400),
    "gpt2-xl": GPT2Config(n_embd=1600, n_layer=48, n_head=25, n_positions=1024, vocab_size=50257),
}


@pytest.fixture
def request_of() -> MakeRequest:
    """A request for a configuration, a tiny one's name or a decoder; keywords are those of `PlanRequest`."""

    def make(
        of: str | PretrainedConfig | Decoder,
        *,
        algorithm: str = "emmet",
        layers: tuple[int, ...] = (1,),
        overrides: dict[str, Any] | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        free: int = 10**12,
        **more: Any,
    ) -> PlanRequest:
        config = CONFIGS[of] if isinstance(of, str) else of
        decoder = config if isinstance(config, Decoder) else weightless_decoder(config, dtype)
        shape = ModelShape(str(decoder.config.model_type), len(decoder.layers), decoder.projections[0].d_in)
        method = ALGORITHMS[algorithm]
        chosen = SettingsOverrides(layers=list(layers), **(overrides or {}))
        settings = resolve_settings(method, shape, chosen, has_chat_template=more.get("chat_forms", 0) > 0)
        available = {HOST: 10**12} | {HOST if device == "cpu" else device: free}
        return PlanRequest(decoder, torch.device(device), method, settings, available, **more)

    return make
