"""The upper run: what each optimiser step runs, the suffixes of many rows packed into one sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.model.batching import even_parts
from editing.model.decoder import Decoder
from editing.model.prefix import Prefix
from editing.model.projection import EditableProjection, Frame, Matrices, Version, frame
from editing.model.windows import mask_of_each
from editing.values.loss import Reads, reads_of
from editing.values.lower_run import Lower
from editing.values.packed_layers import PackedLayers, Padding, Segment
from editing.values.rows import BARE, Row

PADDED = {"cpu": False}
"""Whether rows of several lengths share a segment, by device type; elsewhere they do. Each segment's attention is some
forty small operations a layer: an accelerator would spend more time on starting those than on padding, which is in
attention alone, between rows of like length."""


class Moved:
    """A frame in which the output of one layer's projection is moved by `deltas` (rows, d_out) at `tokens` (rows,)."""

    def __init__(self, layer: int, tokens: Tensor, deltas: Tensor, inner: Frame) -> None:
        self.layer, self.tokens, self.deltas = layer, tokens, deltas
        self.inner = inner

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        out = self.inner.project(projection, x)
        return move(out, self.tokens, self.deltas) if projection.layer == self.layer else out


def move(stream: Tensor, tokens: Tensor, deltas: Tensor) -> Tensor:
    """`stream` (1, T, d_out) with `deltas` (rows, d_out) added at `tokens` (rows,)."""
    return stream.index_add(1, tokens, deltas.to(stream.dtype)[None])


def steps_from(decoder: Decoder, layer: int) -> int:
    """The first layer that a step must run for a δ at `layer`: the next one, unless a norm stands after the MLP."""
    return layer if decoder.architecture.norm_after_mlp else layer + 1


@dataclass(frozen=True)
class Block:
    """Rows that run together.

    `stream` is (1, T, d_out) before `first_layer`. `group` (rows,) says whose δ is added at `subject` (rows,), the
    tokens of the subjects' ends, to the output of the projection of `layer`, or, what is the same where no norm stands
    between, to the stream after that layer.
    """

    layer: int
    first_layer: int
    group: Tensor
    subject: Tensor
    stream: Tensor
    positions: Tensor
    segments: tuple[Segment, ...]
    reads: Reads

    def logits(self, packed: PackedLayers, matrices: Matrices, deltas: Tensor) -> Tensor:
        """Logits (reads, vocabulary) of the version `matrices` with δ (groups, d_out)."""
        mine, version = deltas[self.group], Version(matrices)
        seen: Frame
        if self.first_layer > self.layer:
            hidden, seen = move(self.stream, self.subject, mine), version
        else:
            hidden, seen = self.stream, Moved(self.layer, self.subject, mine, version)
        with frame(seen):
            hidden = packed.run(hidden, self.positions, self.segments, self.reads.token)
        return packed.decoder.logits(hidden)


def blocks_of(
    decoder: Decoder,
    contexts: Prefix | None,
    rows: Sequence[Row],
    lower: Sequence[Lower],
    layer: int,
    row_bytes: Callable[[Row], float],
    limit: float,
    threads: int = 1,
) -> Iterator[Block]:
    """Blocks of `rows`, whose lower runs are `lower`, for a δ at `layer`.

    `threads` of them, run at once, need not much more than `limit` bytes, and all threads get as many.
    """
    by_unit: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        by_unit.setdefault(row.unit, []).append(number)
    units = sorted(by_unit.values(), key=lambda unit: (rows[unit[0]].suffix_length, rows[unit[0]].subject))
    sizes = [sum(row_bytes(rows[number]) for number in unit) for unit in units]
    parts = min(threads * max(1, math.ceil(sum(sizes) / limit)), len(units))
    for part in even_parts(sizes, parts):
        share = [number for place in part for number in units[place]]
        yield _block(decoder, contexts, [rows[n] for n in share], [lower[n] for n in share], layer)


def _block(decoder: Decoder, contexts: Prefix | None, rows: Sequence[Row], lower: Sequence[Lower], layer: int) -> Block:
    device, first = decoder.device, steps_from(decoder, layer)
    padded = PADDED.get(device.type, True)
    by_shape: dict[tuple[bool, int], list[int]] = {}
    for number, row in enumerate(rows):
        by_shape.setdefault((row.context == BARE, 0 if padded else row.suffix_length), []).append(number)
    order: list[int] = []
    segments: list[Segment] = []
    for (bare, _), unsorted in by_shape.items():
        numbers = sorted(unsorted, key=lambda number: rows[number].context)
        order += numbers
        own = _own_prefix([rows[n] for n in numbers], [lower[n] for n in numbers], first)
        widths = [rows[n].suffix_length for n in numbers]
        segments.append(_segment(widths, None if bare else contexts, own, decoder))
    packed = [rows[number] for number in order]
    lengths = torch.tensor([row.suffix_length for row in packed])
    begins = lengths.cumsum(0) - lengths
    before = torch.tensor([_tokens_before(contexts, row) for row in packed])
    positions = torch.arange(int(lengths.sum())) + (before - begins).repeat_interleave(lengths)
    return Block(
        layer=layer,
        first_layer=first,
        group=torch.tensor([row.group for row in packed], device=device),
        subject=begins.to(device),
        stream=torch.cat([lower[number].stream for number in order])[None],
        positions=positions.to(device)[None],
        segments=tuple(segments),
        reads=reads_of(packed, begins.tolist(), torch.promote_types(decoder.dtype, torch.float32), device),
    )


def _tokens_before(contexts: Prefix | None, row: Row) -> int:
    shared = 0 if contexts is None or row.context == BARE else int(contexts.present[row.context].sum())
    return shared + row.subject


def _own_prefix(rows: Sequence[Row], lower: Sequence[Lower], first: int) -> Prefix | None:
    kept = {number: part.prefix for number, part in enumerate(lower) if part.prefix is not None}
    if not kept:
        return None
    some = next(iter(kept.values()))
    width = max(row.subject for row in rows)
    whole = some.new_zeros((some.shape[0], 2, len(rows), some.shape[2], width, some.shape[4]))
    for number, prefix in kept.items():
        whole[:, :, number, :, : rows[number].subject] = prefix
    lengths = torch.tensor([row.subject for row in rows], device=some.device)
    present = torch.arange(width, device=some.device) < lengths[:, None]
    return Prefix({first + n: (layer[0], layer[1]) for n, layer in enumerate(whole)}, present)


def _segment(lengths: Sequence[int], contexts: Prefix | None, own: Prefix | None, decoder: Decoder) -> Segment:
    rows, width = len(lengths), max(lengths)
    seen = [torch.ones(width, width, dtype=torch.bool, device=decoder.device).tril().expand(rows, -1, -1)]
    if own is not None:
        seen.insert(0, own.present[:, None].expand(-1, width, -1))
    if contexts is not None:
        present = contexts.present.repeat_interleave(rows // contexts.present.shape[0], 0)
        seen.insert(0, present[:, None].expand(-1, width, -1))
    whole = torch.cat(seen, -1)
    mask = torch.zeros(whole.shape, dtype=decoder.dtype, device=decoder.device)
    mask.masked_fill_(~whole, torch.finfo(decoder.dtype).min)
    masks = mask_of_each(mask[:, None, None], decoder.windows)
    return Segment(rows, width, contexts, own, masks, _padding(torch.tensor(lengths), decoder.device))


def _padding(lengths: Tensor, device: torch.device) -> Padding | None:
    width = int(lengths.max())
    if bool((lengths == width).all()):
        return None
    begins = lengths.cumsum(0) - lengths
    places = torch.arange(width)
    slots = begins[:, None] + torch.minimum(places, lengths[:, None] - 1)
    present = (places < lengths[:, None]).flatten()
    return Padding(slots.flatten().to(device), present.nonzero()[:, 0].to(device))
