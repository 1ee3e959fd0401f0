"""ROME: rank-one model editing."""

from api_schemas.algorithms.algorithm import Algorithm
from api_schemas.algorithms.published import GPT2_XL, GPT_J, authors

ROME = Algorithm(
    name="rome",
    title="ROME",
    summary="One fact, met exactly: S = C⁻¹, μ = 0, a batch of one subject.",
    paper="https://arxiv.org/abs/2202.05262",
    defaults={"mu": 0.0},
    presets={
        "authors-gpt2-xl": authors(GPT2_XL, mu=0.0, clamp=4.0),
        "authors-gpt-j-6b": authors(GPT_J, mu=0.0, clamp=4.0, steps=20),
    },
    batch_limit=1,
    one_layer=True,
)
