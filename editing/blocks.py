"""The upper run: layers l+1 to the last, over the suffixes of many rows at once, and the loss that is read there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from editing.decoder import Decoder
from editing.lower import Lower, before_rows, positions_after
from editing.prefix import Prefix, PrefixCache, attention_mask
from editing.projection import EditableProjection, Frame, Matrices, Version, frame
from editing.rows import Row

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class Reads:
    """Where a block's logits are read: at `slot` of row `row`, each (reads,), int64.

    The first `labels.shape[0]` reads predict `labels` with `weights` in their groups' losses; the others are KL reads.
    """

    row: Tensor
    slot: Tensor
    group: Tensor
    labels: Tensor
    weights: Tensor


class Moved:
    """A frame in which the output of one layer's projection is moved by δ (rows, d_out) at each row's first token."""

    def __init__(self, layer: int, deltas: Tensor, inner: Frame) -> None:
        self.layer = layer
        self.deltas = deltas
        self.inner = inner

    def project(self, projection: EditableProjection, x: Tensor) -> Tensor:
        out = self.inner.project(projection, x)
        return move(out, self.deltas) if projection.layer == self.layer else out


def move(stream: Tensor, deltas: Tensor) -> Tensor:
    """`stream` (rows, T, d_out) with `deltas` (rows, d_out) added at each row's first token."""
    return torch.cat([stream[:, :1] + deltas.to(stream.dtype)[:, None], stream[:, 1:]], 1)


def steps_from(decoder: Decoder, layer: int) -> int:
    """The first layer that a step must run for a δ at `layer`: the next one, unless a norm stands after the MLP."""
    return layer if decoder.architecture.norm_after_mlp else layer + 1


@dataclass(frozen=True)
class Block:
    """Rows that run together: aligned at the subject's last token, their suffixes padded on the right.

    `stream` is (rows, S, d_out) before `first_layer`; `group` (rows,) says whose δ is added at slot 0 to the output of
    the projection of `layer`, or, what is the same where no norm stands between, to the stream after that layer.
    """

    layer: int
    first_layer: int
    group: Tensor
    stream: Tensor
    positions: Tensor
    mask: Tensor
    prefixes: tuple[Prefix, ...]
    reads: Reads

    def logits(self, decoder: Decoder, matrices: Matrices, deltas: Tensor) -> Tensor:
        """Logits (reads, vocabulary) of the version `matrices` with δ (groups, d_out)."""
        mine, version = deltas[self.group], Version(matrices)
        seen: Frame
        if self.first_layer > self.layer:
            hidden, seen = move(self.stream, mine), version
        else:
            hidden, seen = self.stream, Moved(self.layer, mine, version)
        with frame(seen):
            cache = PrefixCache(self.prefixes)
            last = len(decoder.layers)
            hidden = decoder.run_layers(hidden, self.positions, self.mask, self.first_layer, last, cache)
        return decoder.logits(hidden[self.reads.row, self.reads.slot])


@dataclass(frozen=True)
class Loss:
    """A block's part of its groups' losses: `loss` (groups,), and `said` (groups,), bool: every label is the argmax."""

    loss: Tensor
    said: Tensor


def make_block(
    decoder: Decoder, contexts: Prefix | None, rows: Sequence[Row], lower: Sequence[Lower], layer: int
) -> Block:
    """The block of `rows`, whose lower runs are `lower`, for a δ at `layer`."""
    device = decoder.device
    stream = pad_sequence([part.stream for part in lower], batch_first=True)
    prefixes = before_rows(contexts, rows, device)
    first = steps_from(decoder, layer)
    own = _own_prefix(rows, lower, first, device)
    if own is not None:
        prefixes.append(own)
    return Block(
        layer=layer,
        first_layer=first,
        group=torch.tensor([row.group for row in rows], device=device),
        stream=stream,
        positions=positions_after(prefixes, stream.shape[:2], decoder),
        mask=attention_mask([prefix.present for prefix in prefixes], stream.shape[:2], decoder.dtype, device),
        prefixes=tuple(prefixes),
        reads=_reads(rows, torch.promote_types(decoder.dtype, torch.float32), device),
    )


def _own_prefix(rows: Sequence[Row], lower: Sequence[Lower], first: int, device: torch.device) -> Prefix | None:
    kept = {number: part.prefix for number, part in enumerate(lower) if part.prefix is not None}
    if not kept:
        return None
    some = next(iter(kept.values()))
    width = max(row.subject for row in rows)
    whole = some.new_zeros((some.shape[0], 2, len(rows), some.shape[2], width, some.shape[4]))
    for number, prefix in kept.items():
        whole[:, :, number, :, : rows[number].subject] = prefix
    lengths = torch.tensor([row.subject for row in rows], device=device)
    present = torch.arange(width, device=device) < lengths[:, None]
    return Prefix({first + n: (layer[0], layer[1]) for n, layer in enumerate(whole)}, present)


def _reads(rows: Sequence[Row], dtype: torch.dtype, device: torch.device) -> Reads:
    answers = [
        (number, row.first_read + offset, row.group, label, row.loss_weight / len(row.labels))
        for number, row in enumerate(rows)
        for offset, label in enumerate(row.labels)
    ]
    essences = [(number, 0, row.group, 0, 0.0) for number, row in enumerate(rows) if not row.labels]
    whole = answers + essences
    where = torch.tensor([read[:3] for read in whole], device=device)
    return Reads(
        row=where[:, 0],
        slot=where[:, 1],
        group=where[:, 2],
        labels=torch.tensor([read[3] for read in answers], dtype=torch.long, device=device),
        weights=torch.tensor([read[4] for read in answers], dtype=dtype, device=device),
    )


def block_loss(
    block: Block, logits: Tensor, reference: Tensor, known: Tensor, kl_factor: float, direction: Direction
) -> Loss:
    """mean NLL of the targets + kl_factor · KL, by group, from a block's logits (reads, vocabulary).

    `reference` (groups, vocabulary) holds log p₀. Where `known` (groups,) is false it is filled in from these logits,
    which must then be those of δ = 0. forward is KL(p₀ ‖ p), reverse KL(p ‖ p₀) (the authors').
    """
    reads, groups = block.reads, known.shape[0]
    answers = reads.labels.shape[0]
    log_p = logits.to(reads.weights.dtype).log_softmax(-1)
    nll = -log_p[:answers].gather(1, reads.labels[:, None])[:, 0]
    loss = nll.new_zeros(groups).index_add(0, reads.group[:answers], nll * reads.weights)
    said = torch.ones(groups, dtype=torch.bool, device=logits.device)
    said[reads.group[:answers][log_p[:answers].detach().argmax(-1) != reads.labels]] = False

    of_group, log_now = reads.group[answers:], log_p[answers:]
    if of_group.shape[0]:
        new = ~known[of_group]
        reference[of_group[new]] = log_now[new].detach()
        known[of_group] = True
        log_before = reference[of_group]
        target, given = (log_before, log_now) if direction == "forward" else (log_now, log_before)
        divergence = functional.kl_div(given, target, log_target=True, reduction="none").sum(-1)
        loss = loss.index_add(0, of_group, kl_factor * divergence)
    return Loss(loss, said)
