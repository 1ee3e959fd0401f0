"""What each optimiser step runs: the layers above l, over the suffixes of many sequences packed into one."""

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
from editing.values.loss import LossPositions, loss_positions
from editing.values.lower_run import LowerStates
from editing.values.packed_layers import PackedLayers, Padding, Segment
from editing.values.products import rounded_products
from editing.values.sequences import BARE, ValueSequence

PADDED = {"cpu": False}
"""Whether sequences of several lengths share a segment, by device type; elsewhere they do. Each segment's attention is
some forty small operations a layer: an accelerator would spend more time on starting those than on padding, which is in
attention alone, between sequences of like length."""


class ShiftedOutput:
    """A frame in which the output of one layer's projection is moved by `deltas` (sequences, d_out) at `tokens`
    (sequences,)."""

    def __init__(self, layer: int, tokens: Tensor, deltas: Tensor, inner: Frame) -> None:
        self.layer, self.tokens, self.deltas = layer, tokens, deltas
        self.inner = inner

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        out = self.inner.project(projection, x)
        return add_at(out, self.tokens, self.deltas) if projection.layer == self.layer else out


def add_at(stream: Tensor, tokens: Tensor, deltas: Tensor) -> Tensor:
    """`stream` (1, T, d_out) with `deltas` (sequences, d_out) added at `tokens` (sequences,)."""
    return stream.index_add(1, tokens, deltas.to(stream.dtype)[None])


def steps_from(decoder: Decoder, layer: int) -> int:
    """The first layer that a step must run for a δ at `layer`: the next one, unless a norm stands after the MLP."""
    return layer if decoder.architecture.norm_after_mlp else layer + 1


@dataclass(frozen=True)
class PackedBatch:
    """Sequences that run together, their suffixes packed into one.

    `stream` is (1, T, d_out) before `first_layer`. `group` (sequences,) says whose δ is added at `subject`
    (sequences,), the tokens of the subjects' ends, to the output of the projection of `layer`, or, what is the same
    where no norm stands between, to the stream after that layer.
    """

    layer: int
    first_layer: int
    group: Tensor
    subject: Tensor
    stream: Tensor
    positions: Tensor
    segments: tuple[Segment, ...]
    loss_positions: LossPositions

    def logits(self, packed: PackedLayers, matrices: Matrices, deltas: Tensor) -> Tensor:
        """Logits (positions, vocabulary) of the version `matrices` with δ (groups, d_out)."""
        own_deltas, version = deltas[self.group], Version(matrices)
        visible: Frame
        if self.first_layer > self.layer:
            hidden, visible = add_at(self.stream, self.subject, own_deltas), version
        else:
            hidden, visible = self.stream, ShiftedOutput(self.layer, self.subject, own_deltas, version)
        with frame(visible), rounded_products(packed.decoder, self.positions.numel()):
            hidden = packed.run(hidden, self.positions, self.segments, self.loss_positions.token)
        return packed.decoder.logits(hidden.to(self.stream.dtype))


def packed_batches_of(
    decoder: Decoder,
    contexts: Prefix | None,
    sequences: Sequence[ValueSequence],
    lower: Sequence[LowerStates],
    layer: int,
    sequence_bytes: Callable[[ValueSequence], float],
    limit: float,
    threads: int = 1,
) -> Iterator[PackedBatch]:
    """Packed batches of `sequences`, whose lower runs are `lower`, for a δ at `layer`.

    `threads` of them, run at once, need not much more than `limit` bytes, and all threads get as many.
    """
    by_unit: dict[int, list[int]] = {}
    for number, sequence in enumerate(sequences):
        by_unit.setdefault(sequence.unit, []).append(number)
    units = sorted(by_unit.values(), key=lambda unit: (sequences[unit[0]].suffix_length, sequences[unit[0]].subject))
    sizes = [sum(sequence_bytes(sequences[number]) for number in unit) for unit in units]
    parts = min(threads * max(1, math.ceil(sum(sizes) / limit)), len(units))
    for part in even_parts(sizes, parts):
        share = [number for place in part for number in units[place]]
        yield _packed_batch(decoder, contexts, [sequences[n] for n in share], [lower[n] for n in share], layer)


def _packed_batch(
    decoder: Decoder,
    contexts: Prefix | None,
    sequences: Sequence[ValueSequence],
    lower: Sequence[LowerStates],
    layer: int,
) -> PackedBatch:
    device, first = decoder.device, steps_from(decoder, layer)
    padded = PADDED.get(device.type, True)
    of_unit: dict[int, list[int]] = {}
    for sequence in sequences:
        of_unit.setdefault(sequence.unit, []).append(sequence.context)
    by_shape: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for number, sequence in enumerate(sequences):
        shape = tuple(of_unit[sequence.unit]), 0 if padded else sequence.suffix_length
        by_shape.setdefault(shape, []).append(number)
    order: list[int] = []
    segments: list[Segment] = []
    for (after, _), unsorted in by_shape.items():
        numbers = sorted(unsorted, key=lambda number: sequences[number].context)
        order += numbers
        own = _own_prefix([sequences[n] for n in numbers], [lower[n] for n in numbers], first)
        widths = [sequences[n].suffix_length for n in numbers]
        segments.append(_segment(widths, _prefixes(contexts, after), own, decoder))
    packed = [sequences[number] for number in order]
    lengths = torch.tensor([sequence.suffix_length for sequence in packed])
    begins = lengths.cumsum(0) - lengths
    before = torch.tensor([_tokens_before(contexts, sequence) for sequence in packed])
    positions = torch.arange(int(lengths.sum())) + (before - begins).repeat_interleave(lengths)
    return PackedBatch(
        layer=layer,
        first_layer=first,
        group=torch.tensor([sequence.group for sequence in packed], device=device),
        subject=begins.to(device),
        stream=torch.cat([lower[number].stream for number in order])[None],
        positions=positions.to(device)[None],
        segments=tuple(segments),
        loss_positions=loss_positions(
            packed, begins.tolist(), torch.promote_types(decoder.dtype, torch.float32), device
        ),
    )


def _prefixes(contexts: Prefix | None, numbers: tuple[int, ...]) -> Prefix | None:
    """Those of `contexts` that stand before a segment's sequences, all of which are units after the same ones."""
    if contexts is None or BARE in numbers:
        return None
    if len(numbers) == contexts.present.shape[0]:
        return contexts
    return contexts.select(torch.tensor(numbers, device=contexts.present.device))


def _tokens_before(contexts: Prefix | None, sequence: ValueSequence) -> int:
    shared = 0 if contexts is None or sequence.context == BARE else int(contexts.present[sequence.context].sum())
    return shared + sequence.subject


def _own_prefix(sequences: Sequence[ValueSequence], lower: Sequence[LowerStates], first: int) -> Prefix | None:
    prefixes = {number: part.prefix for number, part in enumerate(lower) if part.prefix is not None}
    if not prefixes:
        return None
    any_prefix = next(iter(prefixes.values()))
    width = max(sequence.subject for sequence in sequences)
    whole = any_prefix.new_zeros(
        (any_prefix.shape[0], 2, len(sequences), any_prefix.shape[2], width, any_prefix.shape[4])
    )
    for number, prefix in prefixes.items():
        whole[:, :, number, :, : sequences[number].subject] = prefix
    lengths = torch.tensor([sequence.subject for sequence in sequences], device=any_prefix.device)
    present = torch.arange(width, device=any_prefix.device) < lengths[:, None]
    return Prefix({first + n: (layer[0], layer[1]) for n, layer in enumerate(whole)}, present)


def _segment(lengths: Sequence[int], contexts: Prefix | None, own: Prefix | None, decoder: Decoder) -> Segment:
    sequences, width = len(lengths), max(lengths)
    visible = [torch.ones(width, width, dtype=torch.bool, device=decoder.device).tril().expand(sequences, -1, -1)]
    if own is not None:
        visible.insert(0, own.present[:, None].expand(-1, width, -1))
    if contexts is not None:
        present = contexts.present.repeat_interleave(sequences // contexts.present.shape[0], 0)
        visible.insert(0, present[:, None].expand(-1, width, -1))
    whole = torch.cat(visible, -1)
    mask = torch.zeros(whole.shape, dtype=decoder.dtype, device=decoder.device)
    mask.masked_fill_(~whole, torch.finfo(decoder.dtype).min)
    masks = mask_of_each(mask[:, None, None], decoder.windows)
    return Segment(sequences, width, contexts, own, masks, _padding(torch.tensor(lengths), decoder.device))


def _padding(lengths: Tensor, device: torch.device) -> Padding | None:
    width = int(lengths.max())
    if bool((lengths == width).all()):
        return None
    begins = lengths.cumsum(0) - lengths
    places = torch.arange(width)
    slots = begins[:, None] + torch.minimum(places, lengths[:, None] - 1)
    present = (places < lengths[:, None]).flatten()
    return Padding(slots.flatten().to(device), present.nonzero()[:, 0].to(device))
