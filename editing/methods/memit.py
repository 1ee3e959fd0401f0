"""MEMIT: mass-editing memory in a transformer."""

from collections.abc import Mapping

from editing.methods.method import Algorithm, ModelShape, SettingValue
from editing.methods.published import (
    GPT2_XL,
    GPT2_XL_SHAPE,
    GPT_J,
    GPT_J_SHAPE,
    LLAMA_2_7B,
    LLAMA_2_7B_SHAPE,
    authors,
)

LAYERS: Mapping[ModelShape, Mapping[str, SettingValue]] = {
    GPT2_XL_SHAPE: {"layers": (13, 14, 15, 16, 17)},
    GPT_J_SHAPE: {"layers": (3, 4, 5, 6, 7, 8)},
    LLAMA_2_7B_SHAPE: {"layers": (4, 5, 6, 7, 8)},
}
"""Those that the method spreads a batch over, where the paper or who measured it later names them."""

MEMIT = Algorithm(
    name="memit",
    title="MEMIT",
    summary="New facts and old knowledge are both met in the least-squares sense: S = C⁻¹, μ = λ, by default the mean "
    "eigenvalue of KᵀC⁻¹K in each layer.",
    paper="https://arxiv.org/abs/2210.07229",
    defaults={"mu": None, "mu_relative": 1.0},
    per_model=LAYERS,
    presets={
        "authors-gpt2-xl": authors(GPT2_XL, mu=20_000, **LAYERS[GPT2_XL_SHAPE]),
        "authors-gpt-j-6b": authors(GPT_J, mu=15_000, **LAYERS[GPT_J_SHAPE]),
        "authors-llama-2-7b": authors(LLAMA_2_7B, mu=15_000, **LAYERS[LLAMA_2_7B_SHAPE]),
    },
)
