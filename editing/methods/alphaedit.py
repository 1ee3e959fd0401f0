"""AlphaEdit: writing where ordinary text hardly reads, beside the keys of earlier edits.

The authors' code (https://github.com/jianghoucheng/AlphaEdit) takes P from the singular vectors of C with values below
nullspace_threshold = 2e-2 (absolute, for its own C, which sums keys over 100,000 texts), an L2 of 10 for Llama-3 and 1
for GPT-J and GPT2-XL, and adds a batch's keys to those of earlier ones. Thresholds here are shares of C's largest
eigenvalue, since C is a mean; the values, contexts and repair are emmetd's.
"""

from typing import Final

from editing.methods.method import Algorithm

METRIC: Final = "editing.covariance.method_metric:null_space"

ALPHAEDIT = Algorithm(
    name="alphaedit",
    title="AlphaEdit",
    summary="A batch is written in the directions that ordinary text hardly uses, S = P(P K_pK_pᵀ P + αI)⁻¹P with the "
    "keys K_p of the line's earlier facts, μ = 1.",
    paper="https://arxiv.org/abs/2410.02355",
    defaults={"mu": 1.0, "mu_relative": None, "condition_limit": 0.0},
    metric=METRIC,
    uses_past_keys=True,
)
