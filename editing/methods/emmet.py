"""EMMET: equality-constrained mass model editing.

The authors' code scales C by mom2_update_weight w and adds emmet_lambda to the diagonal of Kᵀ(wC)⁻¹K: that is
μ = emmet_lambda · w here, with emmet_lambda 0.1 and EMMET's own w (`published`). It leaves emmet_lambda out of a batch
of one fact.
"""

from editing.methods.method import Algorithm
from editing.methods.published import GPT2_XL, GPT_J, LLAMA_2_7B, authors

EMMET = Algorithm(
    name="emmet",
    title="EMMET",
    summary="Old knowledge is kept in the least-squares sense, S = C⁻¹; every fact of a batch is met exactly, μ = 0. "
    "Where measurement says so, a model's recommended settings carry a μ instead, which meets facts nearly and keeps "
    "more (?model= tells; every result names the μ it used). The preset equality is the paper's: μ = 0 or a refusal.",
    paper="https://arxiv.org/abs/2403.14236",
    presets={
        "equality": {
            "mu": 0.0,
            "mu_relative": None,
            "strict": True,
            "repair_rounds": 0,
            "protect": "none",
            "rehearse": 0,
        },
        "authors-gpt2-xl": authors(GPT2_XL, mu=0.1 * 1_000),
        "authors-gpt-j-6b": authors(GPT_J, mu=0.1 * 10_000),
        "authors-llama-2-7b": authors(LLAMA_2_7B, mu=0.1 * 1),
    },
)
