"""The lower run: layers 0 to l, once, for all rows; and the constant prefixes for the layers above.

Nothing below δ's layer changes while δ is optimised, and no prefix changes at any layer (`editing.prefix`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.contexts import Context
from editing.decoder import Decoder
from editing.prefix import KeysValues, Prefix, PrefixCache, attention_mask
from editing.projection import Matrices, Recorder, Version, frame
from editing.rows import BARE, Row


@dataclass(frozen=True)
class Lower:
    """What one row keeps of its lower run.

    `inputs` (d_in,) by layer: the projection's input at the subject's last token, for the layers asked for.
    `stream` (suffix_length, d_out): the stream after layer l. `prefix` (upper layers, 2, kv_heads, tokens, head_dim):
    the keys and values of the row's own prefix in the layers above l, without the context text's.
    """

    inputs: dict[int, Tensor]
    stream: Tensor
    prefix: Tensor


@torch.no_grad()
def context_prefix(decoder: Decoder, matrices: Matrices, contexts: Sequence[Context], layers: int) -> Prefix | None:
    """Keys and values of the context texts in layers 0..layers-1, shared by all facts; None without contexts."""
    if not contexts:
        return None
    tokens, present = pad_left([context.tokens for context in contexts], decoder.device)
    recorded: dict[int, KeysValues] = {}
    with frame(Version(matrices)):
        positions = (present.cumsum(1) - 1).clamp_(min=0)
        mask = attention_mask([], present, decoder.dtype)
        decoder.run_layers(decoder.embed(tokens, positions), positions, mask, 0, layers, PrefixCache([], recorded))
    return Prefix(recorded, present)


def before_rows(contexts: Prefix | None, rows: Sequence[Row], device: torch.device) -> list[Prefix]:
    """The context texts' prefix for each of `rows`, as a list of none or one; nothing of it is there for a bare row."""
    if contexts is None:
        return []
    index = torch.tensor([row.context for row in rows], device=device)
    taken = contexts.rows(index.clamp(min=0))
    return [Prefix(taken.layers, taken.present & (index != BARE)[:, None], taken.index)]


@torch.no_grad()
def run_lower(
    decoder: Decoder,
    matrices: Matrices,
    contexts: Prefix | None,
    rows: Sequence[Row],
    layer: int,
    key_layers: frozenset[int],
    tokens_at_once: int,
    with_prefix: bool = True,
) -> list[Lower]:
    """Run all rows through layers 0..layer, and their prefixes through the rest. Results are in the order of `rows`.

    At most about `tokens_at_once` tokens, padding included, are run in one go.
    """
    found: list[Lower | None] = [None] * len(rows)
    for numbers in in_batches(rows, operator.add, tokens_at_once):
        batch = [rows[number] for number in numbers]
        for number, lower in zip(
            numbers, _run(decoder, matrices, contexts, batch, layer, key_layers, with_prefix), strict=True
        ):
            found[number] = lower
    return [lower for lower in found if lower is not None]


def _run(
    decoder: Decoder,
    matrices: Matrices,
    contexts: Prefix | None,
    rows: Sequence[Row],
    layer: int,
    key_layers: frozenset[int],
    with_prefix: bool,
) -> Iterator[Lower]:
    device, total = decoder.device, len(decoder.layers)
    before_tokens, before = pad_left([row.tokens[: row.subject] for row in rows], device)
    after_tokens, after = pad_right([row.tokens[row.subject :] for row in rows], device)
    own = before.shape[1]
    tokens, present = torch.cat([before_tokens, after_tokens], 1), torch.cat([before, after], 1)
    shared = before_rows(contexts, rows, device)
    positions = row_positions(shared, present)
    mask = attention_mask([prefix.present for prefix in shared], present, decoder.dtype)

    recorder = Recorder(key_layers, Version(matrices))
    with frame(recorder):
        hidden = decoder.run_layers(
            decoder.embed(tokens, positions), positions, mask, 0, layer + 1, PrefixCache(shared)
        )
    recorded: dict[int, KeysValues] = {}
    if with_prefix and own and layer + 1 < total:
        mask = attention_mask([prefix.present for prefix in shared], before, decoder.dtype)
        with frame(Version(matrices)):
            cache = PrefixCache(shared, recorded)
            decoder.run_layers(hidden[:, :own], positions[:, :own], mask, layer + 1, total, cache)
    for number, row in enumerate(rows):
        kept = [torch.stack([kv[number, :, own - row.subject :] for kv in recorded[at]]) for at in sorted(recorded)]
        yield Lower(
            inputs={at: recorder.inputs[at][number, own].clone() for at in key_layers},
            stream=hidden[number, own : own + row.suffix_length].clone(),
            prefix=torch.stack(kept) if kept else hidden.new_empty(0),
        )


def row_positions(shared: Sequence[Prefix], present: Tensor) -> Tensor:
    """Position ids (rows, T) of tokens that stand after the context texts; empty slots repeat their neighbor's."""
    start = sum((prefix.present.sum(1, keepdim=True) for prefix in shared), torch.zeros_like(present[:, :1].long()))
    return start + (present.cumsum(1) - 1).clamp_(min=0)


def in_batches(rows: Sequence[Row], row_cost: Callable[[int, int], float], limit: float) -> Iterator[list[int]]:
    """Indices of rows, those of like length together so that little is padding.

    `row_cost` is what one row of a batch costs from the batch's longest prefix and longest suffix; a batch of more
    than one row costs at most `limit`.
    """
    order = sorted(range(len(rows)), key=lambda n: (rows[n].suffix_length, rows[n].subject))
    batch: list[int] = []
    before = after = 0
    for number in order:
        row = rows[number]
        before, after = max(before, row.subject), max(after, row.suffix_length)
        if batch and (len(batch) + 1) * row_cost(before, after) > limit:
            yield batch
            batch, before, after = [], row.subject, row.suffix_length
        batch.append(number)
    if batch:
        yield batch


def pad_left(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (rows, T), all ending at the last slot, and which slots hold a token (bool)."""
    width = max(len(sequence) for sequence in sequences)
    tokens = [[0] * (width - len(sequence)) + list(sequence) for sequence in sequences]
    present = [[False] * (width - len(sequence)) + [True] * len(sequence) for sequence in sequences]
    return _tensor(tokens, torch.long, width, device), _tensor(present, torch.bool, width, device)


def pad_right(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (rows, T), all beginning at the first slot, and which slots hold a token (bool)."""
    width = max(len(sequence) for sequence in sequences)
    tokens = [list(sequence) + [0] * (width - len(sequence)) for sequence in sequences]
    present = [[True] * len(sequence) + [False] * (width - len(sequence)) for sequence in sequences]
    return _tensor(tokens, torch.long, width, device), _tensor(present, torch.bool, width, device)


def _tensor(rows: Sequence[Sequence[int | bool]], dtype: torch.dtype, width: int, device: torch.device) -> Tensor:
    return torch.tensor(rows, dtype=dtype, device=device).reshape(len(rows), width)
