"""The slow and obvious way to read a model: one sequence at a time, through transformers' own forward, no batching.

What `editing` computes in few large batches is held against this. Nothing here uses `editing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

PROJECTIONS = {"gpt2": "mlp.c_proj", "gptj": "mlp.fc_out"}
"""Of those families where it is not `mlp.down_proj`."""


def projection_of(model: nn.Module, layer: int) -> Any:
    config: Any = model.config
    layers: Any = model.transformer.h if config.model_type in PROJECTIONS else model.model.layers
    return layers[layer].get_submodule(PROJECTIONS.get(config.model_type, "mlp.down_proj"))


def merged(model: nn.Module, matrices: Mapping[int, Tensor]) -> nn.Module:
    """`model` with its projections' weights overwritten by `matrices`, as a merged checkpoint would have them."""
    with torch.no_grad():
        for layer, matrix in matrices.items():
            projection_of(model, layer).weight.copy_(matrix)
    return model


def log_probabilities(model: nn.Module, prompt: Sequence[int], answer: Sequence[int]) -> tuple[float, bool]:
    """Mean log-probability of `answer` after `prompt`, and whether each of its tokens is the argmax."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    total, said = 0.0, True
    for offset, token in enumerate(answer):
        at = torch.log_softmax(logits[len(prompt) - 1 + offset], -1)
        total += float(at[token])
        said = said and int(at.argmax()) == token
    return total / len(answer), said


def greedy(model: nn.Module, prompt: Sequence[int], length: int, stop: Sequence[int] = ()) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < len(prompt) + length and (len(tokens) == len(prompt) or tokens[-1] not in stop):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def perplexity(model: nn.Module, rows: Sequence[Sequence[int]]) -> float:
    total, count = 0.0, 0
    for row in rows:
        if len(row) > 1:
            mean, _ = log_probabilities(model, row[:1], row[1:])
            total -= mean * (len(row) - 1)
            count += len(row) - 1
    return math.exp(total / count)


def keys(model: nn.Module, layer: int, rows: Sequence[Sequence[int]]) -> Tensor:
    """The inputs of the projection of `layer` for every token of every row, (tokens, d_in), by a forward hook."""
    found: list[Tensor] = []
    handle = projection_of(model, layer).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0][0]))
    with torch.no_grad():
        for row in rows:
            model(torch.tensor([list(row)]))
    handle.remove()
    return torch.cat(found)
