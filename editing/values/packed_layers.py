"""Runs decoder layers over many suffixes packed into one sequence, without padding.

All that a layer does to each token alone (norms, projections, MLP) then works on one matrix of tokens, as large as
memory allows. Attention alone looks at the sequences: each attends to its constant prefixes, which are neither copied
nor given gradients, and to its own tokens.

To put their own attention into a model's layers without touching the model, layers are copied shallowly: a copy shares
every parameter with the shared model and differs in the attention it calls, and in how GELU is computed. The last
layer's MLP runs only where logits are read: nothing else of what it gives is used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from editing.errors import UnsupportedModelError
from editing.model.decoder import Decoder
from editing.model.prefix import Prefix
from editing.values.products import unrounded_products

_INTERFACE = "emmetd_packed_suffixes"
_UNSUPPORTED = ("s_aux",)


@dataclass(frozen=True)
class Padding:
    """Between a segment's tokens and its slots; see `Segment`."""

    slots: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Segment:
    """Sequences packed into one, whose segments follow each other: `sequences` sequences of `width` tokens, or of
    fewer.

    Where they differ in length, `padding` brings them to one for attention alone: `slots` (sequences · width,) names
    the token of the segment that stands in each slot, a sequence's last one also in those behind it, which causality
    hides from the sequence's own; `tokens` names the slot of each token. `contexts`, of N texts, stand before N × F
    sequences, text after text; None: nothing stands before. `own` are the sequences' own prefixes. `masks` has for each
    of the model's layers an additive one, (sequences, 1, 1, width, slots): over the slots of `contexts`, of `own`, and
    the sequence's tokens, in this order.
    """

    sequences: int
    width: int
    contexts: Prefix | None
    own: Prefix | None
    masks: Sequence[Tensor]
    padding: Padding | None = None

    @property
    def tokens(self) -> int:
        return self.sequences * self.width if self.padding is None else self.padding.tokens.shape[0]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, softcap: float | None
    ) -> Tensor:
        """Attention of this segment's query (heads, tokens, head_dim) and key, value (kv_heads, tokens, head_dim).

        Scores beyond ±`softcap` are bent towards it. Returns (heads, tokens, head_dim).
        """
        if self.padding is not None:
            query, key, value = (x.index_select(1, self.padding.slots) for x in (query, key, value))
        heads, kv_heads, size = query.shape[0], key.shape[0], query.shape[2]
        group = heads // kv_heads
        q = (query * scaling).reshape(kv_heads, group, self.sequences, self.width, size)
        q = q.permute(2, 0, 1, 3, 4).reshape(self.sequences, kv_heads, group * self.width, size)
        k, v = (x.reshape(kv_heads, self.sequences, self.width, size).transpose(0, 1) for x in (key, value))

        parts = [q @ k.transpose(2, 3)]
        if self.own is not None:
            parts.insert(0, q @ self.own.layer(layer)[0].transpose(2, 3))
        if self.contexts is not None:
            by_text = self._by_text(q) @ self.contexts.layer(layer)[0].transpose(2, 3)
            parts.insert(0, self._by_sequence(by_text, group * self.width))
        scores = torch.cat(parts, -1).view(self.sequences, kv_heads, group, self.width, -1)
        if softcap is not None:
            scores = (scores / softcap).tanh() * softcap
        scores = scores.add_(self.masks[layer])
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(v.dtype)
        shares = list(weights.flatten(2, 3).split([part.shape[-1] for part in parts], -1))

        out = shares.pop() @ v
        if self.own is not None:
            out = out + shares.pop() @ self.own.layer(layer)[1]
        if self.contexts is not None:
            by_text = self._by_text(shares.pop()) @ self.contexts.layer(layer)[1]
            out = out + self._by_sequence(by_text, group * self.width)
        by_head: Tensor = out.view(self.sequences, kv_heads, group, self.width, size).permute(1, 2, 0, 3, 4)
        by_head = by_head.reshape(heads, self.sequences * self.width, size)
        return by_head if self.padding is None else by_head.index_select(1, self.padding.tokens)

    def _by_text(self, x: Tensor) -> Tensor:
        """(texts · F, kv_heads, n, m) → (texts, kv_heads, F · n, m): one product for all sequences after a text."""
        assert self.contexts is not None
        texts = self.contexts.present.shape[0]
        return x.view(texts, -1, *x.shape[1:]).transpose(1, 2).flatten(2, 3)

    def _by_sequence(self, x: Tensor, n: int) -> Tensor:
        """(texts, kv_heads, F · n, m) → (texts · F, kv_heads, n, m)."""
        return x.view(*x.shape[:2], -1, n, x.shape[3]).transpose(1, 2).flatten(0, 1)


class PackedLayers:
    """The layers from `first` on of a decoder, for packed suffixes. Used by one thread at a time.

    `segments` are those of the sequence that is being run, `reads` (reads,) its tokens whose logits are read.
    """

    def __init__(self, decoder: Decoder, first: int) -> None:
        self.decoder = decoder
        self.first = first
        self.segments: Sequence[Segment] = ()
        self.reads: Tensor
        self.layers = [self._own(layer) for layer in decoder.layers[first:]]
        # A layer that δ itself is added in, before a norm, needs its MLP everywhere.
        if len(self.layers) > (1 if decoder.architecture.norm_after_mlp else 0):
            last: Any = self.layers[-1]
            name = decoder.architecture.mlp
            last._modules[name] = _AtReads(self, last._modules[name])

    def run(self, hidden: Tensor, positions: Tensor, segments: Sequence[Segment], reads: Tensor) -> Tensor:
        """The stream (1, T, d_out) before the first layer → after the last one, at `reads` (reads,): (reads, d_out)."""
        self.segments, self.reads = segments, reads
        return self.decoder.run(self.layers, self.first, hidden, positions, [None] * len(self.layers))[0, reads]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, softcap: float | None = None
    ) -> Tensor:
        """Attention over (1, heads, T, head_dim), of the same shape, in the model's dtype."""
        lengths, dtype = [segment.tokens for segment in self.segments], self.decoder.dtype
        parts = zip(self.segments, *(x[0].to(dtype).split(lengths, 1) for x in (query, key, value)), strict=True)
        with unrounded_products():
            return torch.cat([segment.attend(layer, q, k, v, scaling, softcap) for segment, q, k, v in parts], 1)[None]

    def _own(self, layer: nn.Module) -> nn.Module:
        architecture = self.decoder.architecture
        mine: Any = copy.copy(layer)
        attention: Any = copy.copy(layer.get_submodule(architecture.attention))
        mlp = _with_fused_gelu(layer.get_submodule(architecture.mlp))
        mine._modules = {**layer._modules, architecture.attention: attention, architecture.mlp: mlp}
        attention.packed_layers = self
        if architecture.attention_method is None:
            attention.config = copy.copy(attention.config)
            attention.config._attn_implementation = _INTERFACE
        else:
            setattr(attention, architecture.attention_method, _Method(self, attention))
        return cast(nn.Module, mine)


def _with_fused_gelu(mlp: nn.Module) -> nn.Module:
    """A shallow copy in which GELU's tanh form, eight operations in transformers, is PyTorch's one: the same function,
    and at the width of the MLP those operations would take as long as its products on an accelerator."""
    mine: Any = copy.copy(mlp)
    mine._modules = {
        name: nn.GELU("tanh") if isinstance(child, NewGELUActivation) else child for name, child in mlp._modules.items()
    }
    return cast(nn.Module, mine)


class _AtReads(nn.Module):
    """The last layer's MLP: zero but for the tokens that are read, each of which is named once."""

    def __init__(self, layers: PackedLayers, mlp: nn.Module) -> None:
        super().__init__()
        self.layers, self.mlp = layers, mlp

    def forward(self, x: Tensor) -> Tensor:
        reads = self.layers.reads
        return torch.zeros_like(x).index_copy(1, reads, self.mlp(x.index_select(1, reads)))


class _Method:
    """Attention for a model whose attention modules have a method of their own for it (GPT-J)."""

    def __init__(self, layers: PackedLayers, attention: Any) -> None:
        self.layers = layers
        self.layer: int = attention.layer_idx

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, None]:
        return self.layers.attend(self.layer, query, key.to(value.dtype), value, query.shape[-1] ** -0.5), None


def _interface(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _: Tensor | None, scaling: float, **options: Any
) -> tuple[Tensor, None]:
    """What transformers calls instead of SDPA; (1, heads, T, head_dim) → (1, T, heads, head_dim)."""
    if unsupported := [name for name in _UNSUPPORTED if options.get(name) is not None]:
        raise UnsupportedModelError(f"attention with {', '.join(unsupported)} is not supported for editing yet")
    known, window = module.packed_layers.decoder.windows[module.layer_idx], options.get("sliding_window")
    if window != known:  # the masks were made for another
        raise UnsupportedModelError(
            f"layer {module.layer_idx} has a sliding window of {window}, not of {known} as known"
        )
    softcap = options.get("softcap")
    return module.packed_layers.attend(module.layer_idx, query, key, value, scaling, softcap).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(_INTERFACE, _interface)
