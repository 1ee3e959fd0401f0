"""Settings chosen per model by measurement (docs/decisions/) or, where we have none, from the literature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api_schemas.algorithms.algorithm import SettingValue
from api_schemas.algorithms.published import GPT2_XL, GPT_J, LLAMA_2_7B


@dataclass(frozen=True)
class ModelShape:
    """What a model is recognised by, whatever its name: its family, number of layers and the MLP's inner width."""

    model_type: str
    n_layers: int
    d_in: int


RECOMMENDED: Mapping[ModelShape, Mapping[str, SettingValue]] = {
    ModelShape("llama", 30, 1536): {  # SmolLM2-135M
        "layers": (4, 5, 6, 7, 8),
        "mu": 1000.0,
        "repair_rounds": 2,
    },
    ModelShape("gpt2", 48, 6400): GPT2_XL,
    ModelShape("gptj", 28, 16384): GPT_J,
    ModelShape("llama", 32, 11008): LLAMA_2_7B,
}


def recommended_for(shape: ModelShape) -> Mapping[str, SettingValue]:
    """The row for `shape`; an unknown model gets one layer a quarter of the way up, where facts were found best."""
    return RECOMMENDED.get(shape, {"layers": (shape.n_layers // 4,)})
