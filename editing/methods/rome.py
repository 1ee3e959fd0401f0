"""ROME: rank-one model editing.

The presets have the figures of the authors' code, not its every step, and so do not give its numbers to the last digit:
- it clamps and decays δ against the norm of the MLP's output at the subject, we against that of the stream (as MEMIT
  does), which is larger;
- its key is the mean over the bare prompt and twenty texts of 5 and 10 tokens, ours is half the bare prompt's and half
  the mean over five texts;
- it scales the update so that the bare prompt's own key meets the value, we so that the key of the solve does.
"""

from editing.methods.method import Algorithm
from editing.methods.published import GPT2_XL, GPT_J, authors

ROME = Algorithm(
    name="rome",
    title="ROME",
    summary="One fact, met exactly at its key: S = C⁻¹, μ = 0, a batch of one subject. The presets take the authors' "
    "steps, learning rate, clamp, decay and KL; δ is bounded by the norm of the stream instead of the MLP's output, "
    "and the key, half the bare prompt's and half five contexts', is met instead of the bare prompt's alone.",
    paper="https://arxiv.org/abs/2202.05262",
    defaults={"mu": 0.0},
    presets={
        "authors-gpt2-xl": authors(GPT2_XL, mu=0.0, clamp=4.0),
        "authors-gpt-j-6b": authors(GPT_J, mu=0.0, clamp=4.0, steps=19),
    },
    batch_limit=1,
    one_layer=True,
)
