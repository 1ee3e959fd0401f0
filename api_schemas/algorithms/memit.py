"""MEMIT: mass-editing memory in a transformer."""

from api_schemas.algorithms.algorithm import Algorithm
from api_schemas.algorithms.published import GPT2_XL, GPT_J, LLAMA_2_7B, authors

MEMIT = Algorithm(
    name="memit",
    title="MEMIT",
    summary="New facts and old knowledge are both met in the least-squares sense: S = C⁻¹, μ = λ.",
    paper="https://arxiv.org/abs/2210.07229",
    defaults={"mu": None, "mu_relative": 1.0},
    presets={
        "authors-gpt2-xl": authors(GPT2_XL, mu=20_000, layers=(13, 14, 15, 16, 17)),
        "authors-gpt-j-6b": authors(GPT_J, mu=15_000, layers=(3, 4, 5, 6, 7, 8)),
        "authors-llama-2-7b": authors(LLAMA_2_7B, mu=15_000, layers=(4, 5, 6, 7, 8)),
    },
)
