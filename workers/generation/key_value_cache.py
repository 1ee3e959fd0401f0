"""The key-value cache of a batch whose sequences join and leave: a tensor a layer, left-padded to one width."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from editing.model.decoder import LayerCache

GROWTH = 64


class KeyValueCache:
    """Keys and values (sequences, kv_heads, capacity, head_dim) of every layer, and which slots are real.

    Slots 0 to `width` - 1 are in use. An append writes in place; the tensors are copied only when sequences join or
    leave or the capacity is used up.
    """

    def __init__(self, layers: int) -> None:
        self._keys: list[Tensor | None] = [None] * layers
        self._values: list[Tensor | None] = [None] * layers
        self.present: Tensor = torch.zeros(0, 0, dtype=torch.bool)
        self._new = 0
        self._growing = Lock()

    @property
    def width(self) -> int:
        return int(self.present.shape[1])

    def extend(self, present: Tensor) -> None:
        """Announce slots (sequences, new) for the tokens that the layers will bring next; False is padding."""
        self._new = int(present.shape[1])
        self.present = (
            present if self.present.numel() == 0 else torch.cat([self.present.to(present.device), present], dim=1)
        )

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by a layer's attention: keep the new keys and values, return all of them."""
        return self._write(slice(None), keys, values, layer)

    def slice_of(self, sequences: slice) -> LayerCache:
        """What the layers are given that run some sequences alone, while others may be run by another thread."""
        return _KeyValueCacheSlice(self, sequences)

    def _write(self, sequences: slice, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        start, end = self.width - self._new, self.width
        out = []
        for tensors, new in ((self._keys, keys), (self._values, values)):
            with self._growing:
                tensor = self._with_capacity(tensors, layer, new)
            tensor[sequences, :, start:end] = new
            out.append(tensor[sequences, :, :end])
        return out[0], out[1]

    def _with_capacity(self, tensors: list[Tensor | None], layer: int, new: Tensor) -> Tensor:
        """The layer's tensor for all sequences, with room for the slots that were announced; made for the
        first thread that asks."""
        start, end = self.width - self._new, self.width
        tensor = tensors[layer]
        if tensor is None:
            tensor = new.new_empty(len(self.present), new.shape[1], _rounded(end), new.shape[3])
        elif tensor.shape[2] < end:
            grown = tensor.new_empty(*tensor.shape[:2], _rounded(end + end // 4), tensor.shape[3])
            grown[:, :, :start] = tensor[:, :, :start]
            tensor = grown
        tensors[layer] = tensor
        return tensor

    def select(self, sequences: Sequence[int]) -> None:
        """Keep only `sequences`, and no slot at the left that is padding for all of them."""
        index = torch.tensor(sequences, device=self.present.device)
        present = self.present.index_select(0, index)
        start = int(present.any(0).int().argmax()) if present.any() else 0
        end = self.width
        self.present = present[:, start:]
        for tensors in (self._keys, self._values):
            for layer, tensor in enumerate(tensors):
                assert tensor is not None
                tensors[layer] = tensor[:, :, start:end].index_select(0, index)

    def merge(self, other: KeyValueCache) -> None:
        """Append the sequences of `other`, both padded on the left to one width.

        A layer's tensor is let go of as soon as it was copied, so that no more than one is in memory twice. Where there
        is no room for the next one, the error is raised and the sequences that were here have what they had.
        """
        used, others = self.width, other.width
        width = max(used, others)
        present = torch.cat([_padded(self.present, width), _padded(other.present, width)])
        sequences = len(self.present)
        merged: list[tuple[list[Tensor | None], int]] = []
        try:
            for mine, theirs in ((self._keys, other._keys), (self._values, other._values)):
                for layer, (first, second) in enumerate(zip(mine, theirs, strict=True)):
                    assert first is not None
                    assert second is not None
                    # Zeros, not whatever memory held: padding is masked, but a NaN there would still spread.
                    both = first.new_zeros(len(present), first.shape[1], _rounded(width + 1), first.shape[3])
                    both[:sequences, :, width - used : width] = first[:, :, :used]
                    both[sequences:, :, width - others : width] = second[:, :, :others]
                    mine[layer] = both
                    merged.append((mine, layer))
        except BaseException:
            for tensors, layer in merged:
                tensor = tensors[layer]
                assert tensor is not None
                tensors[layer] = tensor[:sequences, :, width - used :]  # a view: there is no room for copies
            raise
        self.present = present


class _KeyValueCacheSlice:
    """Some sequences of a cache."""

    def __init__(self, cache: KeyValueCache, sequences: slice) -> None:
        self._cache = cache
        self._sequences = sequences

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self._cache._write(self._sequences, keys, values, layer)


def _rounded(slots: int) -> int:
    return -(-slots // GROWTH) * GROWTH


def _padded(present: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(present, (width - present.shape[1], 0))
