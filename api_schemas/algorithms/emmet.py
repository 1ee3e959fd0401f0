"""EMMET: equality-constrained mass model editing."""

from api_schemas.algorithms.algorithm import Algorithm
from api_schemas.algorithms.published import GPT2_XL, GPT_J, LLAMA_2_7B, authors

EMMET = Algorithm(
    name="emmet",
    title="EMMET",
    summary="Every fact of the batch is met exactly, old knowledge is kept in the least-squares sense: S = C⁻¹, μ = 0.",
    paper="https://arxiv.org/abs/2403.14236",
    presets={
        "authors-gpt2-xl": authors(GPT2_XL, mu=0.1 * 20_000),
        "authors-gpt-j-6b": authors(GPT_J, mu=0.1 * 15_000),
        "authors-llama-2-7b": authors(LLAMA_2_7B, mu=0.1 * 15_000),
    },
)
