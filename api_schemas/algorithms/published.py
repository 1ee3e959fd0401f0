"""Settings that the methods' authors published with their code, per model; starting points and for reproduction."""

from __future__ import annotations

from collections.abc import Mapping

from api_schemas.algorithms.algorithm import SettingValue

GPT2_XL: Mapping[str, SettingValue] = {"layers": (17,), "steps": 20, "clamp": 0.75, "weight_decay": 0.5}
GPT_J: Mapping[str, SettingValue] = {"layers": (5,), "steps": 25, "clamp": 0.75, "weight_decay": 0.5}
LLAMA_2_7B: Mapping[str, SettingValue] = {"layers": (5,), "steps": 25, "clamp": 4.0, "weight_decay": 1e-3}


def authors(model: Mapping[str, SettingValue], **overrides: SettingValue) -> dict[str, SettingValue]:
    """The authors' way of optimising (reverse KL, stopping by loss alone, no repair) with a model's settings."""
    return {
        "lr": 0.5,
        "kl_factor": 0.0625,
        "kl_direction": "reverse",
        "stop_loss": 0.05,
        "stop_after_argmax": -1,
        "contexts": 5,
        "context_tokens": 10,
        "repair_rounds": 0,
        "mu_relative": None,
        **model,
        **overrides,
    }
