"""Constant prefixes: keys and values of tokens that come before, computed once; and what prompts begin with alike.

Causality: no token before a subject's last one sees that token's value change δ. Their keys and values in every layer
are constants, computed once; each optimiser step then runs only the tokens from the subject's last one on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

_ALIKE: Final = 8
"""Tokens by which prompts are taken to begin alike; fewer are not worth a pass of their own."""
LEAST_SAVED: Final = 64
"""Tokens that must be saved: about twice what one more pass costs on a CPU (`editing.model.batching`)."""

KeysValues = tuple[Tensor, Tensor]
"""Of one layer: keys and values, each (sequences, kv_heads, tokens, head_dim)."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values by layer number of the tokens that stand before, and which of these slots hold a token.

    `present` is (sequences, tokens), bool. With `index` (sequences,), int64, sequence n is sequence `index[n]` of
    `layers`: a text that stands before many sequences is kept once.
    """

    layers: Mapping[int, KeysValues]
    present: Tensor
    index: Tensor | None = None

    def select(self, index: Tensor) -> Prefix:
        """The sequences that `index` (int64) names, in its order; a sequence may be named many times."""
        return Prefix(self.layers, self.present[index], index if self.index is None else self.index[index])

    def layer(self, number: int) -> KeysValues:
        keys, values = self.layers[number]
        return (keys, values) if self.index is None else (keys[self.index], values[self.index])


class PrefixCache:
    """A key-value cache (`decoder.LayerCache`) that puts constant prefixes before the new tokens and stores nothing.

    `recorded`, if given, receives each layer's new keys and values alone: that is how prefixes are made.
    """

    def __init__(self, prefixes: Sequence[Prefix], recorded: dict[int, KeysValues] | None = None) -> None:
        self.prefixes = prefixes
        self.recorded = recorded

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> KeysValues:
        if self.recorded is not None:
            self.recorded[layer] = (keys, values)
        if not self.prefixes:
            return keys, values
        before = [prefix.layer(layer) for prefix in self.prefixes]
        return torch.cat([*(k for k, _ in before), keys], 2), torch.cat([*(v for _, v in before), values], 2)


def attention_mask(before: Sequence[Tensor], shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The additive mask (sequences, 1, tokens, slots before + tokens) of causal attention over prefixes and new tokens.

    `shape` is that of the new tokens, (sequences, tokens). `before` are bool, (sequences, slots): which slots of each
    prefix hold a token. New tokens are padded on the right, so that none sees padding; every slot sees at least itself
    (a softmax over nothing would be NaN).
    """
    sequences, tokens = shape
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril().expand(sequences, -1, -1)
    visible = torch.cat([*(present[:, None].expand(sequences, tokens, -1) for present in before), causal], -1)
    mask = torch.zeros(visible.shape, dtype=dtype, device=device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


@dataclass(frozen=True)
class SharedBeginning:
    """The prompts `rows`, by number, begin with the same `length` tokens, and have at least one more."""

    length: int
    rows: frozenset[int]


def shared_beginning(prompts: Sequence[Sequence[int]], versions: int = 1) -> SharedBeginning | None:
    """What saves most tokens where it runs once for each of `versions` instead of once for each prompt.

    None where that is too little.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(prompts):
        if len(prompt) > _ALIKE:
            alike.setdefault(tuple(prompt[:_ALIKE]), []).append(number)
    best, most = None, LEAST_SAVED - 1
    for rows in alike.values():
        length = _length_alike([prompts[row][:-1] for row in rows])
        saved = (len(rows) - versions) * length
        if saved > most:
            best, most = SharedBeginning(length, frozenset(rows)), saved
    return best


def _length_alike(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all `sequences` begin with."""
    columns = zip(*sequences, strict=False)
    return next((n for n, tokens in enumerate(columns) if len(set(tokens)) > 1), min(map(len, sequences)))
