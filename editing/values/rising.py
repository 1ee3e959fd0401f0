"""Keys and states of the same groups again and again, while a version's layers are changed from below.

An edit that is spread over several layers asks for a layer's keys and for the stream after the last one, changes that
layer, and asks for the next one's. What lies below a layer does not change any more: it runs once, where the stream of
all tokens may be kept meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.prefix import KeysValues, Prefix, PrefixCache, attention_mask
from editing.model.projection import Frame, Matrices, Recorder, Version, frame
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.keys import SubjectStates, mean_keys, mean_states
from editing.values.lower_run import LowerStates, batches_of, contexts_before, padded, positions_after
from editing.values.sequences import sequences_of, subject_only

MOST_KEPT_BYTES: Final = 256 * 1024**2
"""Of streams. Those of ten thousand facts in all their forms take gigabytes: they run from the embedding each time."""


@dataclass
class _Part:
    """Rows that run together: their `numbers` among all, what stands before them (`present`: which of its slots hold a
    token), their `tokens` (rows, T), and their stream (rows, T, d_out) before the layer that was reached, if any."""

    numbers: list[int]
    before: list[Prefix]
    positions: Tensor
    tokens: Tensor
    stream: Tensor | None = None


class RisingStates:
    """What `editing.values.keys.subject_states` gives, bit by bit, for layers in rising order."""

    @torch.no_grad()
    def __init__(
        self, decoder: Decoder, groups: Sequence[SubjectGroup], contexts: Sequence[Context], stream_layer: int
    ) -> None:
        self._decoder = decoder
        self._groups = len(groups)
        self._stream_layer = stream_layer
        self._reached = 0
        self._last: tuple[int, dict[int, Tensor], SubjectStates] | None = None
        self._sequences = [subject_only(sequence) for sequence in sequences_of(groups, contexts, kl_factor=0.0)]
        self._contexts: _Part | None = None
        self._recorded: dict[int, KeysValues] = {}
        prefix: Prefix | None = None
        if contexts:
            tokens, present = padded([context.tokens for context in contexts], decoder.device)
            positions = positions_after([], tokens.shape, decoder)
            self._contexts = _Part([], [], positions, tokens)
            prefix = Prefix(self._recorded, present)
        self._parts = [self._part(prefix, numbers) for numbers in self._batches()]
        tokens_in_all = sum(part.tokens.numel() for part in self._all_parts())
        d_out, element = decoder.projections[0].d_out, decoder.projections[0].weight.element_size()
        self._keeps = tokens_in_all * d_out * element <= MOST_KEPT_BYTES

    def _batches(self) -> list[list[int]]:
        return batches_of([len(sequence.tokens) for sequence in self._sequences], self._decoder.device)

    def _part(self, prefix: Prefix | None, numbers: list[int]) -> _Part:
        rows = [self._sequences[number] for number in numbers]
        tokens, _ = padded([sequence.tokens for sequence in rows], self._decoder.device)
        before = contexts_before(prefix, rows, self._decoder.device)
        positions = positions_after(before, tokens.shape, self._decoder)
        return _Part(numbers, before, positions, tokens)

    def _all_parts(self) -> list[_Part]:
        return ([] if self._contexts is None else [self._contexts]) + self._parts

    @torch.no_grad()
    def at(self, matrices: Matrices, layer: int) -> SubjectStates:
        """Keys of `layer` and the stream after the last one, in the version `matrices`.

        Layers below that of the call before have the same matrices as then.
        """
        if layer < self._reached:
            raise ValueError(f"layer {layer} lies below layer {self._reached}, which was reached")
        if self._last is not None and self._last[0] == layer and _same(self._last[1], matrices):
            return self._last[2]
        version = Version(matrices)
        self._rise(version, layer)
        if self._contexts is not None:  # for this call alone: these layers change
            self._run(self._contexts, version, self._stream_layer + 1)
        states: list[LowerStates | None] = [None] * len(self._sequences)
        recorder = Recorder(frozenset({layer}), version)
        for part in self._parts:
            after = self._run(part, recorder, self._stream_layer + 1)
            for slot, number in enumerate(part.numbers):
                subject = self._sequences[number].subject
                key, state = recorder.inputs[layer][slot, subject].clone(), after[slot, subject].clone()
                states[number] = LowerStates({layer: key}, state, after[slot, :0])
        found = [one for one in states if one is not None]
        read = SubjectStates(
            keys={layer: mean_keys(self._sequences, found, layer, self._groups)},
            stream=mean_states(self._sequences, found, self._groups),
        )
        self._last = (layer, dict(matrices), read)
        return read

    def _rise(self, version: Version, layer: int) -> None:
        """Bring all streams before `layer`, where they are kept."""
        if layer == self._reached or not self._keeps:
            return
        for part in self._all_parts():
            part.stream = self._run(part, version, layer)
        self._reached = layer

    def _run(self, part: _Part, visible: Frame, last: int) -> Tensor:
        """From the layer that was reached up to `last`, without it."""
        decoder = self._decoder
        stream = decoder.embed(part.tokens, part.positions) if part.stream is None else part.stream
        mask = attention_mask(
            [prefix.present for prefix in part.before], stream.shape[:2], decoder.dtype, decoder.device
        )
        recorded = self._recorded if part is self._contexts else None
        with frame(visible):
            return decoder.run_layers(
                stream, part.positions, mask, self._reached, last, PrefixCache(part.before, recorded)
            )


def _same(one: Matrices, other: Matrices) -> bool:
    """Whether both are the very same tensors."""
    return one.keys() == other.keys() and all(one[layer] is other[layer] for layer in one)
