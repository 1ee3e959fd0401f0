"""Settings that the methods' authors published with their code, per model; starting points and for reproduction.

EMMET's and ROME's figures are those of hparams/ in https://github.com/scalable-model-editing/unified-model-editing
(EMMET's at commits dabbb96 and ac0cb39), MEMIT's those of https://github.com/kmeng01/memit (commit ef6f4cd), for
Llama-2-7B of https://github.com/zjunlp/EasyEdit (commit 08da19c). All their loops end before the last step's update, so
that their v_num_grad_steps of 20 and 25 are 19 and 24 updates; `steps` counts updates.
"""

from __future__ import annotations

from collections.abc import Mapping

from editing.methods.method import ModelShape, SettingValue

GPT2_XL_SHAPE = ModelShape("gpt2", 48, 6400)
GPT_J_SHAPE = ModelShape("gptj", 28, 16384)
LLAMA_2_7B_SHAPE = ModelShape("llama", 32, 11008)

GPT2_XL: Mapping[str, SettingValue] = {"layers": (17,), "steps": 19, "clamp": 0.75, "weight_decay": 0.5}
GPT_J: Mapping[str, SettingValue] = {"layers": (5,), "steps": 24, "clamp": 0.75, "weight_decay": 0.5}
LLAMA_2_7B: Mapping[str, SettingValue] = {"layers": (5,), "steps": 24, "clamp": 4.0, "weight_decay": 1e-3}


def authors(model: Mapping[str, SettingValue], **overrides: SettingValue) -> dict[str, SettingValue]:
    """The authors' way of optimising with a model's settings: no chat forms, reverse KL, stopping by loss alone, no
    repair."""
    return {
        "lr": 0.5,
        "second_moment": "element",
        "kl_factor": 0.0625,
        "kl_direction": "reverse",
        "stop_loss": 0.05,
        "stop_after_argmax": -1,
        "contexts": 5,
        "context_tokens": 10,
        "forms": ("bare", "context"),
        "protect": "none",
        "repair_rounds": 0,
        "rehearse": 0,
        "condition_limit": 0.0,
        "mu_relative": None,
        **model,
        **overrides,
    }
