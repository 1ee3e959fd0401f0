"""The edited linear map, and which weights a thread sees through it.

Editing and generation share one loaded model but not one version of it. Each edited layer's projection is therefore
replaced, once and at load, by an `EditableProjection` that asks its *thread's* current frame for the matrix to use.
Nothing is ever written to the shared model and no hook is put on it: choosing a version is pushing a frame, and other
threads do not see it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

Matrices = Mapping[int, Tensor]
"""Layer number → the projection's matrix in the module's own layout: (d_out, d_in), or (d_in, d_out) for Conv1D."""


class Frame(Protocol):
    """What a thread sees of the edited projections while the frame is current."""

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        """The projection's output (..., d_out) for input x (..., d_in)."""
        ...


class _Current(threading.local):
    frame: Frame | None = None


_current = _Current()


@contextmanager
def frame(of: Frame | None) -> Iterator[None]:
    """Make `of` this thread's frame; `None` is the untouched base model. Frames nest; they do not add up."""
    before = _current.frame
    _current.frame = of
    try:
        yield
    finally:
        _current.frame = before


class EditableProjection(nn.Module):
    """The linear map W of one layer's MLP, with the same parameters under the same names as the module it replaces."""

    def __init__(self, original: nn.Module, layer: int) -> None:
        super().__init__()
        weight = original.weight
        if not isinstance(weight, nn.Parameter) or weight.ndim != 2:
            raise TypeError(f"layer {layer}: projection {type(original).__name__} has no two-dimensional weight")
        self.layer = layer
        self.transposed = isinstance(original, Conv1D)
        self.weight = weight
        bias = original.bias
        self.bias = bias if isinstance(bias, nn.Parameter) else None

    @property
    def d_in(self) -> int:
        return int(self.weight.shape[0 if self.transposed else 1])

    @property
    def d_out(self) -> int:
        return int(self.weight.shape[1 if self.transposed else 0])

    def apply_matrix(self, x: Tensor, matrix: Tensor) -> Tensor:
        """x (..., d_in) → (..., d_out) through `matrix`, by the very operation of the replaced module.

        The same operation in the same layout, so that a version's output is bit for bit that of a merged model.
        """
        if not self.transposed:
            return functional.linear(x, matrix, self.bias)
        flat = x.reshape(-1, x.shape[-1])
        out = torch.addmm(self.bias, flat, matrix) if self.bias is not None else flat @ matrix
        return out.view(*x.shape[:-1], matrix.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        current = _current.frame
        return self.apply_matrix(x, self.weight) if current is None else current.project(self, x)


class Version:
    """A frame in which every sequence sees the same matrices; a layer that is not in `matrices` keeps the base's."""

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        return projection.apply_matrix(x, self.matrices.get(projection.layer, projection.weight))


class RowVersions:
    """A frame in which every sequence of a batch sees the matrices of its own version.

    Each product is computed at full shape for every matrix present, and sequences are selected from the results.
    Gathering a matrix's sequences first would be less work but changes the product's shape, and with it the last bits:
    this way a sequence gets bit for bit what it gets in the same batch with all sequences on its version.
    """

    def __init__(self, sequences: Sequence[Matrices]) -> None:
        self.sequences = tuple(sequences)
        self._parts: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        parts = self._parts.get(projection.layer)
        if parts is None:
            parts = self._parts[projection.layer] = _by_matrix(self.sequences, projection)
        out: Tensor | None = None
        for matrix, sequences in parts:
            product = projection.apply_matrix(x, matrix)
            out = product if out is None else out.index_copy(0, sequences, product.index_select(0, sequences))
        assert out is not None, "a batch has sequences"
        return out


class GatheredRows:
    """As `RowVersions`, with each matrix multiplied by its own sequences alone: less work, and last bits that
    differ."""

    def __init__(self, sequences: Sequence[Matrices]) -> None:
        self.sequences = tuple(sequences)
        self._parts: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        parts = self._parts.get(projection.layer)
        if parts is None:
            parts = self._parts[projection.layer] = _by_matrix(self.sequences, projection)
        if len(parts) == 1:
            return projection.apply_matrix(x, parts[0][0])
        out = x.new_empty(*x.shape[:-1], projection.d_out)
        for matrix, sequences in parts:
            out.index_copy_(0, sequences, projection.apply_matrix(x.index_select(0, sequences), matrix))
        return out


def frame_of(sequences: Sequence[Matrices]) -> Frame:
    """The frame of sequences each of which sees its own version: gathered, unless all are of one.

    For measuring, where last bits may differ from those of a batch of one version.
    """
    first = sequences[0]
    return Version(first) if all(one is first for one in sequences) else GatheredRows(sequences)


def lowest_layer(versions: Iterable[Matrices]) -> int:
    """The first layer that one of `versions` has edited: what lies below is the same in all of them. 0 for none."""
    return min((layer for matrices in versions for layer in matrices), default=0)


def _by_matrix(sequences: Sequence[Matrices], projection: EditableProjection) -> list[tuple[Tensor, Tensor]]:
    """The distinct matrices of a layer and which of the sequences see each, as index tensors."""
    by_matrix: dict[int, tuple[Tensor, list[int]]] = {}
    for number, matrices in enumerate(sequences):
        matrix = matrices.get(projection.layer, projection.weight)
        by_matrix.setdefault(id(matrix), (matrix, []))[1].append(number)
    device = projection.weight.device
    return [(matrix, torch.tensor(numbers, device=device)) for matrix, numbers in by_matrix.values()]


class Recorder:
    """A frame that keeps the inputs (..., d_in) of chosen layers' projections, detached, as they pass."""

    def __init__(self, layers: frozenset[int], inner: Frame | None = None) -> None:
        self.layers = layers
        self.inner = inner
        self.inputs: dict[int, Tensor] = {}

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        if projection.layer in self.layers:
            self.inputs[projection.layer] = x.detach()
        return (
            projection.apply_matrix(x, projection.weight) if self.inner is None else self.inner.project(projection, x)
        )
