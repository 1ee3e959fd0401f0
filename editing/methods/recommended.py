"""Settings chosen per model by measurement (docs/decisions/) or, where we have none, from the literature."""

from __future__ import annotations

from collections.abc import Mapping

from editing.methods.method import ModelShape, SettingValue
from editing.methods.published import GPT2_XL, GPT2_XL_SHAPE, GPT_J, GPT_J_SHAPE, LLAMA_2_7B, LLAMA_2_7B_SHAPE

RECOMMENDED: Mapping[ModelShape, Mapping[str, SettingValue]] = {
    ModelShape("llama", 30, 1536): {  # SmolLM2-135M
        "layers": (4, 5, 6, 7, 8),
        "mu": 1000.0,
        "clamp": 0.6,
        "repair_rounds": 2,
    },
    GPT2_XL_SHAPE: GPT2_XL,
    GPT_J_SHAPE: GPT_J,
    LLAMA_2_7B_SHAPE: LLAMA_2_7B,
}


def recommended_for(shape: ModelShape) -> Mapping[str, SettingValue]:
    """The row for `shape`; an unknown model gets one layer a quarter of the way up, where facts were found best."""
    return RECOMMENDED.get(shape, {"layers": (shape.n_layers // 4,)})


def recommended_layers(shape: ModelShape) -> tuple[int, ...]:
    """The layers that an edit with default settings changes."""
    layers = recommended_for(shape)["layers"]
    assert isinstance(layers, tuple)
    return tuple(int(layer) for layer in layers)
