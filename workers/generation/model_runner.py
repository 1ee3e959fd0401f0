"""Runs a batch of sequences through the model: on a CPU in micro-batches, one per core, on an accelerator whole.

A step of decoding is hundreds of products so small that two cores spend much of their time waiting for each other after
each of them. On two cores, a step of SmolLM2-135M for 32 sequences took 1.3 times, and one for 16 sequences 1.5 times,
as long as two micro-batches of half of the sequences, each on a core of its own (random weights of its shapes; 0.9 to
1.2 times for widths of 1,024 to 2,048, and at 4,096, where reading the weights twice costs more, 0.75 to 1.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.masks import left_padded_mask
from editing.model.projection import Frame, Matrices, frame
from editing.parallel import Parallel
from workers.generation.key_value_cache import KeyValueCache

FEWEST_SEQUENCES = 8
"""Sequences that are worth a micro-batch of their own."""
WIDEST = 2048
"""Width of the stream up to which micro-batches run side by side."""


@dataclass(frozen=True)
class MicroBatch:
    """Sequences `first` to `last` - 1 of a batch, and what they see of the edited projections."""

    first: int
    last: int
    frame: Frame


class ModelRunner:
    """Belongs to one thread. How sequences are split depends on their number alone, not on their versions."""

    def __init__(self, decoder: Decoder, frame_of: Callable[[Sequence[Matrices]], Frame]) -> None:
        self._decoder = decoder
        self._frame_of = frame_of
        self._pools: dict[int, Parallel] = {}
        self._threads = ExitStack()

    def close(self) -> None:
        """End the threads. Where micro-batches are run after all, they are begun anew."""
        self._pools.clear()
        self._threads.close()

    def micro_batches(self, matrices: Sequence[Matrices]) -> list[MicroBatch]:
        """Of sequences with these matrices."""
        sequences, number = len(matrices), self._number_of_micro_batches(len(matrices))
        bounds = [sequences * index // number for index in range(number + 1)]
        return [MicroBatch(first, last, self._frame_of(matrices[first:last])) for first, last in pairwise(bounds)]

    def stream(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, micro_batches: Sequence[MicroBatch]
    ) -> Tensor:
        """Tokens and positions (sequences, T), announced to their cache → the stream (sequences, T, d_out) after all
        layers."""
        return self._run(lambda micro_batch: self._stream(tokens, positions, cache, micro_batch), micro_batches)

    def logits(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, micro_batches: Sequence[MicroBatch]
    ) -> Tensor:
        """The same → the logits (sequences, vocabulary) after the last token, float32."""

        def run_one(micro_batch: MicroBatch) -> Tensor:
            return self._decoder.logits(self._stream(tokens, positions, cache, micro_batch)[:, -1]).float()

        return self._run(run_one, micro_batches)

    def _number_of_micro_batches(self, sequences: int) -> int:
        """Micro-batches of so many sequences: a power of two, so that there are few numbers of threads to keep
        ready."""
        most = min(torch.get_num_threads(), sequences // FEWEST_SEQUENCES)
        if most < 2 or self._decoder.device.type != "cpu" or self._decoder.projections[0].d_out > WIDEST:
            return 1
        return 1 << (most.bit_length() - 1)

    def _run(self, run_one: Callable[[MicroBatch], Tensor], micro_batches: Sequence[MicroBatch]) -> Tensor:
        number = len(micro_batches)
        if number == 1:
            return run_one(micro_batches[0])
        if number not in self._pools:
            self._pools[number] = self._threads.enter_context(Parallel(number))
        return torch.cat(list(self._pools[number].map(_without_gradient(run_one), micro_batches)))

    def _stream(self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, micro_batch: MicroBatch) -> Tensor:
        sequences = slice(micro_batch.first, micro_batch.last)
        mask = left_padded_mask(cache.present[sequences], tokens.shape[1], self._decoder.dtype)
        with frame(micro_batch.frame):
            hidden = self._decoder.embed(tokens[sequences], positions[sequences])
            layers = len(self._decoder.layers)
            return self._decoder.run_layers(hidden, positions[sequences], mask, 0, layers, cache.slice_of(sequences))


def _without_gradient(run_one: Callable[[MicroBatch], Tensor]) -> Callable[[MicroBatch], Tensor]:
    """Inference mode holds only in the thread that entered it."""
    return torch.inference_mode()(run_one)
