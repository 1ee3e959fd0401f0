"""The key-value cache of a batch whose rows join and leave: one tensor a layer, rows left-padded to one width."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from editing.model.decoder import LayerCache

GROWTH = 64


class RowCache:
    """Keys and values (rows, kv_heads, capacity, head_dim) of every layer, and which slots are real.

    Slots 0 to `width` - 1 are in use. An append writes in place; the tensors are copied only when rows join or leave
    or the capacity is used up.
    """

    def __init__(self, layers: int) -> None:
        self._keys: list[Tensor | None] = [None] * layers
        self._values: list[Tensor | None] = [None] * layers
        self.keep: Tensor = torch.zeros(0, 0, dtype=torch.bool)
        self._new = 0
        self._making_room = Lock()

    @property
    def width(self) -> int:
        return int(self.keep.shape[1])

    def extend(self, keep: Tensor) -> None:
        """Announce slots (rows, new) for the tokens that the layers will bring next; False is padding."""
        self._new = int(keep.shape[1])
        self.keep = keep if self.keep.numel() == 0 else torch.cat([self.keep.to(keep.device), keep], dim=1)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by a layer's attention: keep the new keys and values, return all of them."""
        return self._put(slice(None), keys, values, layer)

    def of_rows(self, rows: slice) -> LayerCache:
        """What the layers are given that run some rows alone, while others may be run by another thread."""
        return _RowsOfCache(self, rows)

    def _put(self, rows: slice, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        start, end = self.width - self._new, self.width
        out = []
        for held, new in ((self._keys, keys), (self._values, values)):
            with self._making_room:
                present = self._with_room(held, layer, new)
            present[rows, :, start:end] = new
            out.append(present[rows, :, :end])
        return out[0], out[1]

    def _with_room(self, held: list[Tensor | None], layer: int, new: Tensor) -> Tensor:
        """The layer's tensor for all rows, with room for the slots that were announced; made for the first who asks."""
        start, end = self.width - self._new, self.width
        present = held[layer]
        if present is None:
            present = new.new_empty(len(self.keep), new.shape[1], _rounded(end), new.shape[3])
        elif present.shape[2] < end:
            grown = present.new_empty(*present.shape[:2], _rounded(end + end // 4), present.shape[3])
            grown[:, :, :start] = present[:, :, :start]
            present = grown
        held[layer] = present
        return present

    def select(self, rows: Sequence[int]) -> None:
        """Keep only `rows`, and no slot at the left that is padding for all of them."""
        index = torch.tensor(rows, device=self.keep.device)
        keep = self.keep.index_select(0, index)
        start = int(keep.any(0).int().argmax()) if keep.any() else 0
        end = self.width
        self.keep = keep[:, start:]
        for held in (self._keys, self._values):
            for layer, present in enumerate(held):
                assert present is not None
                held[layer] = present[:, :, start:end].index_select(0, index)

    def merge(self, other: RowCache) -> None:
        """Append the rows of `other`, both padded on the left to one width.

        A layer's tensor is let go of as soon as it was copied, so that no more than one is in memory twice. Where there
        is no room for the next one, the error is raised and the rows that were here have what they had.
        """
        used, others = self.width, other.width
        width = max(used, others)
        keep = torch.cat([_padded(self.keep, width), _padded(other.keep, width)])
        rows = len(self.keep)
        merged: list[tuple[list[Tensor | None], int]] = []
        try:
            for mine, theirs in ((self._keys, other._keys), (self._values, other._values)):
                for layer, (first, second) in enumerate(zip(mine, theirs, strict=True)):
                    assert first is not None
                    assert second is not None
                    # Zeros, not whatever memory held: padding is masked, but a NaN there would still spread.
                    both = first.new_zeros(len(keep), first.shape[1], _rounded(width + 1), first.shape[3])
                    both[:rows, :, width - used : width] = first[:, :, :used]
                    both[rows:, :, width - others : width] = second[:, :, :others]
                    mine[layer] = both
                    merged.append((mine, layer))
        except BaseException:
            for held, layer in merged:
                present = held[layer]
                assert present is not None
                held[layer] = present[:rows, :, width - used :]  # a view: there is no room for copies
            raise
        self.keep = keep


class _RowsOfCache:
    """Some rows of a cache."""

    def __init__(self, cache: RowCache, rows: slice) -> None:
        self._cache = cache
        self._rows = rows

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self._cache._put(self._rows, keys, values, layer)


def _rounded(slots: int) -> int:
    return -(-slots // GROWTH) * GROWTH


def _padded(keep: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(keep, (width - keep.shape[1], 0))
