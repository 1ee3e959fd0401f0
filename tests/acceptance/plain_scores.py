"""Scores by transformers alone, one item at a time: an independent check of the service's own.

Shares no code with the service. The edited weights are base + B A from the version's blob, read as safetensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


class PlainModel:
    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def merge(self, delta: Path) -> None:
        """Add one version's delta to the weights (Llama's layout)."""
        tensors = load_file(delta)
        for name in [name for name in tensors if name.endswith(".a")]:
            layer = name.split(".")[0]
            weight = self.model.model.layers[int(layer)].mlp.down_proj.weight
            change = tensors[f"{layer}.b"].double() @ tensors[f"{layer}.a"].double()
            with torch.no_grad():
                weight.copy_((weight.double() + change).float())

    @torch.inference_mode()
    def logprob(self, prompt: str, target: str) -> float:
        """Mean log-probability of the target's tokens after the prompt."""
        before = self.tokenizer(prompt).input_ids
        after = self.tokenizer(" " + target.strip(), add_special_tokens=False).input_ids
        logits = self.model(torch.tensor([before + after])).logits[0].log_softmax(-1)
        return sum(float(logits[len(before) - 1 + n, token]) for n, token in enumerate(after)) / len(after)

    def item(self, record: dict[str, Any]) -> dict[str, list[bool]]:
        """Which of a CounterFact record's prompts prefer the new target (ES, PS) or still the old one (NS)."""
        rewrite = record["requested_rewrite"]
        new, old = rewrite["target_new"]["str"], rewrite["target_true"]["str"]

        def prefers_new(prompt: str) -> bool:
            return self.logprob(prompt, new) > self.logprob(prompt, old)

        return {
            "ES": [prefers_new(rewrite["prompt"].format(rewrite["subject"]))],
            "PS": [prefers_new(prompt) for prompt in record["paraphrase_prompts"]],
            "NS": [not prefers_new(prompt) for prompt in record["neighborhood_prompts"]],
        }
