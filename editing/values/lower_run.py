"""Runs layers 0 to l once for all sequences, and computes the constant prefixes of the layers that each step runs.

Nothing below δ's layer changes while δ is optimised, and no prefix changes at any layer (`editing.model.prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from editing.model.batching import in_batches
from editing.model.decoder import Decoder
from editing.model.prefix import KeysValues, Prefix, PrefixCache, attention_mask
from editing.model.projection import Matrices, Recorder, Version, frame
from editing.progress import ShouldStop, check, never
from editing.values.contexts import Context
from editing.values.sequences import BARE, ValueSequence

TOKENS_AT_ONCE = {"cpu": 2048}
ACCELERATOR_TOKENS_AT_ONCE = 16384
"""How many tokens, padding included, are run in one go where no backward pass keeps anything."""


def tokens_at_once(device: torch.device) -> int:
    return TOKENS_AT_ONCE.get(device.type, ACCELERATOR_TOKENS_AT_ONCE)


@dataclass(frozen=True)
class LowerStates:
    """What one sequence keeps of its lower run.

    `inputs` (d_in,) by layer: the projection's input at the subject's last token, for the layers asked for. `state`
    (d_out,): the stream after layer l at that token. `stream` (suffix_length, d_out): the stream before the first layer
    that each step runs. `prefix` (layers from that one on, 2, kv_heads, tokens, head_dim): the keys and values of the
    sequence's own prefix there, without the context text's; None where the sequence has no prefix, or where none was
    asked for.
    """

    inputs: dict[int, Tensor]
    state: Tensor
    stream: Tensor
    prefix: Tensor | None = None


@torch.no_grad()
def context_prefix(decoder: Decoder, matrices: Matrices, contexts: Sequence[Context], layers: int) -> Prefix | None:
    """Keys and values of the context texts in layers 0..layers-1, shared by all facts; None without contexts."""
    if not contexts:
        return None
    tokens, present = padded([context.tokens for context in contexts], decoder.device)
    recorded: dict[int, KeysValues] = {}
    with frame(Version(matrices)):
        positions = positions_after([], tokens.shape, decoder)
        hidden = decoder.embed(tokens, positions)
        mask = attention_mask([], tokens.shape, decoder.dtype, decoder.device)
        decoder.run_layers(hidden, positions, mask, 0, layers, PrefixCache([], recorded))
    return Prefix(recorded, present)


def contexts_before(contexts: Prefix | None, sequences: Sequence[ValueSequence], device: torch.device) -> list[Prefix]:
    """The context texts' prefix for each of `sequences`, as a list of none or one; nothing of it is there for a bare
    sequence."""
    if contexts is None:
        return []
    index = torch.tensor([sequence.context for sequence in sequences], device=device)
    taken = contexts.select(index.clamp(min=0))
    return [Prefix(taken.layers, taken.present & (index != BARE)[:, None], taken.index)]


def positions_after(before: Sequence[Prefix], shape: torch.Size, decoder: Decoder) -> Tensor:
    """Position ids of `shape` (sequences, tokens) for tokens after prefixes; padding stays within what the model
    knows."""
    start = sum(
        (prefix.present.sum(1) for prefix in before), torch.zeros(shape[0], dtype=torch.long, device=decoder.device)
    )
    positions = start[:, None] + torch.arange(shape[1], device=decoder.device)
    return positions.clamp_(max=decoder.context_length - 1)


@torch.no_grad()
def run_lower(
    decoder: Decoder,
    matrices: Matrices,
    contexts: Prefix | None,
    sequences: Sequence[ValueSequence],
    layer: int,
    key_layers: frozenset[int],
    steps_from: int | None,
    should_stop: ShouldStop = never,
) -> list[LowerStates]:
    """Run all sequences through layers 0..layer, and their prefixes through the rest; in the sequences' order.

    `steps_from` is the first layer that each optimiser step will run, `layer` or the one after; None: there is no step,
    and nothing is kept for one.
    """
    split = layer + 1 if steps_from is None else steps_from
    lower_states: list[LowerStates | None] = [None] * len(sequences)
    streams: dict[int, Tensor] = {}
    recorder = Recorder(key_layers, Version(matrices))
    for numbers in batches_of([len(sequence.tokens) for sequence in sequences], decoder.device):
        check(should_stop, "the optimisation of values")
        batch = [sequences[number] for number in numbers]
        tokens, _ = padded([sequence.tokens for sequence in batch], decoder.device)
        before = contexts_before(contexts, batch, decoder.device)
        positions = positions_after(before, tokens.shape, decoder)
        with frame(recorder):
            stream = _run(decoder, before, decoder.embed(tokens, positions), positions, 0, split)
            after = _run(decoder, before, stream, positions, split, layer + 1)
        for slot, number in enumerate(numbers):
            sequence = sequences[number]
            inputs = {key_layer: recorder.inputs[key_layer][slot, sequence.subject].clone() for key_layer in key_layers}
            sequence_stream = stream[slot, : len(sequence.tokens)].clone()
            lower_states[number] = LowerStates(
                inputs, after[slot, sequence.subject].clone(), sequence_stream[sequence.subject :]
            )
            streams[number] = sequence_stream
    if steps_from is not None:
        prefixes = _prefixes(decoder, matrices, contexts, sequences, streams, steps_from, should_stop)
        return [
            replace(lower, prefix=prefixes.get(number))
            for number, lower in enumerate(lower_states)
            if lower is not None
        ]
    return [lower for lower in lower_states if lower is not None]


def _prefixes(
    decoder: Decoder,
    matrices: Matrices,
    contexts: Prefix | None,
    sequences: Sequence[ValueSequence],
    streams: dict[int, Tensor],
    first: int,
    should_stop: ShouldStop,
) -> dict[int, Tensor]:
    """Keys and values, from layer `first` on, of the sequences' own prefixes, whose streams before it are in
    `streams`."""
    prefixes: dict[int, Tensor] = {}
    with_prefix = [number for number, sequence in enumerate(sequences) if sequence.subject]
    for places in batches_of([sequences[number].subject for number in with_prefix], decoder.device):
        check(should_stop, "the optimisation of values")
        numbers = [with_prefix[place] for place in places]
        batch = [sequences[number] for number in numbers]
        hidden = pad_sequence([streams[number][: sequences[number].subject] for number in numbers], batch_first=True)
        before = contexts_before(contexts, batch, decoder.device)
        positions = positions_after(before, hidden.shape[:2], decoder)
        recorded: dict[int, KeysValues] = {}
        with frame(Version(matrices)):
            _run(decoder, before, hidden, positions, first, len(decoder.layers), recorded)
        if recorded:
            stacked = torch.stack([torch.stack(kv) for kv in recorded.values()])
            for slot, number in enumerate(numbers):
                prefixes[number] = stacked[:, :, slot, :, : sequences[number].subject].clone()
    return prefixes


def _run(
    decoder: Decoder,
    before: Sequence[Prefix],
    hidden: Tensor,
    positions: Tensor,
    first: int,
    last: int,
    recorded: dict[int, KeysValues] | None = None,
) -> Tensor:
    mask = attention_mask([prefix.present for prefix in before], hidden.shape[:2], decoder.dtype, decoder.device)
    return decoder.run_layers(hidden, positions, mask, first, last, PrefixCache(before, recorded))


def batches_of(lengths: Sequence[int], device: torch.device) -> list[list[int]]:
    limit = tokens_at_once(device)
    return list(in_batches(lengths, lambda _, tokens: tokens, limit, device))


def padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (sequences, T), padded on the right, and which slots hold a token (bool)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    tokens = pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True).to(device)
    return tokens, torch.arange(tokens.shape[1], device=device) < lengths[:, None]
