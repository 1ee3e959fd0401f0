"""One loaded model, opened so that its layers can be run one by one.

Editing needs to run layers 0..l once and layers l+1.. many times, with its own mask, positions and key-value cache.
`Decoder` calls the model's own decoder layers for that, so every architecture's mathematics stays transformers'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from editing.architectures import Architecture, architecture_of
from editing.model.head import through_head
from editing.model.prefix import attention_mask
from editing.model.projection import EditableProjection
from editing.model.rotary import context_length_of
from editing.model.windows import mask_of_each, windows_of


class LayerCache(Protocol):
    """What an attention layer asks of its cache: keys and values (sequences, kv_heads, tokens, head_dim) in, all
    out."""

    def update(self, keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]: ...


class Decoder:
    """A causal language model whose MLP output projections have been made editable (`EditableProjection`).

    The model is put in evaluation mode and its parameters stop requiring gradients. After that it is never written to.
    `context_length` is the longest text, in tokens, that it is read with; `windows` has for each layer how many tokens
    a token sees, None for all. `rounded_products` lets values be optimised with products in bfloat16 where that is
    faster (`editing.values.products`). Raises UnsupportedModelError for a family, or a field of its configuration, that
    would not be computed as the model's own forward does.
    """

    def __init__(self, model: nn.Module, *, rounded_products: bool = False) -> None:
        self.rounded_products = rounded_products
        self.architecture: Architecture = architecture_of(model)
        self.model = model.eval().requires_grad_(False)
        architecture = self.architecture
        self.layers: list[nn.Module] = list(model.get_submodule(architecture.layers).children())
        self.embedding = model.get_submodule(architecture.embedding)
        self.positions = model.get_submodule(architecture.positions) if architecture.positions else None
        self.rotary = model.get_submodule(architecture.rotary) if architecture.rotary else None
        self.final_norm = model.get_submodule(architecture.final_norm)
        self.head = model.get_submodule(architecture.head)
        self.softcap: float | None = getattr(self.config, architecture.softcap) if architecture.softcap else None
        self.context_length = context_length_of(architecture, self.config)
        self.windows = windows_of(architecture, self.config, len(self.layers))
        self.projections: list[EditableProjection] = [self._open(n, layer) for n, layer in enumerate(self.layers)]

    def _open(self, number: int, layer: nn.Module) -> EditableProjection:
        parent_path, _, name = self.architecture.projection.rpartition(".")
        parent = layer.get_submodule(parent_path)
        present = getattr(parent, name)
        if isinstance(present, EditableProjection):
            return present
        projection = EditableProjection(present, number)
        setattr(parent, name, projection)
        return projection

    def projection_name(self, layer: int) -> str:
        """Where the model's own modules have the edited projection of `layer`."""
        return f"{self.architecture.layers}.{layer}.{self.architecture.projection}"

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def device(self) -> torch.device:
        return self.projections[0].weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.projections[0].weight.dtype

    @property
    def _causal_without_mask(self) -> bool:
        """Whether this model's attention is causal when it is given no mask: SDPA is, eager attention is not."""
        return bool(self.config._attn_implementation == "sdpa")

    @property
    def has_windows(self) -> bool:
        """Whether some layer sees only so many tokens back, so that attention over a cache always needs a mask."""
        return any(window is not None for window in self.windows)

    @property
    def attention_heads(self) -> int:
        return int(self.config.num_attention_heads)

    @property
    def key_value_width(self) -> int:
        """Numbers that a layer keeps of a token as its keys, and as many as its values."""
        heads = getattr(self.config, "num_key_value_heads", None) or self.attention_heads
        size = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.attention_heads
        return int(heads * size)

    @property
    def embedded(self) -> int:
        """Number of token ids that have an embedding, which may be fewer than the tokenizer's entries."""
        return int(self.embedding.get_parameter("weight").shape[0])

    @property
    def vocabulary(self) -> int:
        """Number of logits, which may be more than the tokenizer's entries."""
        return int(self.head.get_parameter("weight").shape[0])

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Token ids (sequences, T) and position ids (sequences, T) → the stream before layer 0, (sequences, T,
        d_out)."""
        hidden: Tensor = self.embedding(tokens)
        return hidden if self.positions is None else hidden + self.positions(positions)

    def run_layers(
        self,
        hidden: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        first: int,
        last: int,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Layers first..last-1 on the stream `hidden` (sequences, T, d_out), which it returns after layer last-1.

        `mask` is additive and four-dimensional, (sequences, 1, T, T_all) in the stream's dtype, where T_all counts what
        the cache puts before these tokens; each token sees itself, and no slot after that. Layers with sliding windows
        see less of it (`editing.model.windows`). None is plain causal attention over these tokens alone. Raises
        ValueError for None beside a cache where there are windows.
        """
        if mask is None and cache is not None and self.has_windows:
            raise ValueError("a model with sliding windows needs a mask over all that its cache holds")
        windows = self.windows[first:last]
        narrow = any(window is not None and window < hidden.shape[1] for window in windows)
        if mask is None and (narrow or not self._causal_without_mask):
            mask = attention_mask([], hidden.shape[:2], hidden.dtype, hidden.device)
        masks = [None] * len(windows) if mask is None else mask_of_each(mask, windows)
        return self.run(self.layers[first:last], first, hidden, positions, masks, cache)

    def run(
        self,
        layers: Sequence[nn.Module],
        first: int,
        hidden: Tensor,
        positions: Tensor,
        masks: Sequence[Tensor | None],
        cache: LayerCache | None = None,
    ) -> Tensor:
        """The stream through `layers`, this model's own from `first` on or copies of them, each with its mask."""
        rotary = self._rotary(hidden, positions, first, first + len(layers))
        for layer, mask, angles in zip(layers, masks, rotary, strict=True):
            out = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                use_cache=cache is not None,
                **{self.architecture.cache_argument: cache},
                **angles,
            )
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden

    def _rotary(self, hidden: Tensor, positions: Tensor, first: int, last: int) -> list[dict[str, Any]]:
        """What layers first..last-1 are to be told of their rotary angles, as arguments."""
        if self.rotary is None:
            return [{}] * (last - first)
        if not self.architecture.rotary_by_layer_type:
            return [{"position_embeddings": self.rotary(hidden, positions)}] * (last - first)
        kinds: list[str] = self.config.layer_types[first:last]
        by_kind = {kind: self.rotary(hidden, positions, kind) for kind in set(kinds)}
        return [{"position_embeddings": by_kind[kind]} for kind in kinds]

    def logits(self, hidden: Tensor) -> Tensor:
        """The stream after the last layer, (..., d_out), at the positions that are read → logits (..., vocabulary)."""
        out = through_head(self.head, self.final_norm(hidden))
        return out if self.softcap is None else (out / self.softcap).tanh() * self.softcap
