"""Rows through the model: on a processor some side by side with others, on an accelerator all at once.

A step of decoding is hundreds of products so small that two cores spend much of their time waiting for each other after
each of them. On two cores, a step of SmolLM2-135M for 32 rows took 1.3 times, and one for 16 rows 1.5 times, as long as
two passes for half of the rows, each on a core of its own (random weights of its shapes; 0.9 to 1.2 times for widths of
1,024 to 2,048, and at 4,096, where reading the weights twice costs more, 0.75 to 1.1).
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
from workers.generation.cache import RowCache

FEWEST_ROWS = 8
"""Rows that are worth a pass of their own."""
WIDEST = 2048
"""Width of the stream up to which passes run side by side."""


@dataclass(frozen=True)
class Part:
    """Rows `first` to `last` - 1 of a batch, and what they see of the edited projections."""

    first: int
    last: int
    frame: Frame


class Passes:
    """Belongs to one thread. How rows are parted depends on their number alone, not on their versions."""

    def __init__(self, decoder: Decoder, frame_of: Callable[[Sequence[Matrices]], Frame]) -> None:
        self._decoder = decoder
        self._frame_of = frame_of
        self._side_by_side: dict[int, Parallel] = {}
        self._threads = ExitStack()

    def close(self) -> None:
        """End the threads. Passes may still be run: they are begun anew."""
        self._side_by_side.clear()
        self._threads.close()

    def parts(self, matrices: Sequence[Matrices]) -> list[Part]:
        """Of rows with these matrices."""
        rows, number = len(matrices), self._number(len(matrices))
        bounds = [rows * part // number for part in range(number + 1)]
        return [Part(first, last, self._frame_of(matrices[first:last])) for first, last in pairwise(bounds)]

    def stream(self, tokens: Tensor, positions: Tensor, cache: RowCache, parts: Sequence[Part]) -> Tensor:
        """Tokens and positions (rows, T), announced to their cache → the stream (rows, T, d_out) after all layers."""
        return self._run(lambda part: self._stream(tokens, positions, cache, part), parts)

    def logits(self, tokens: Tensor, positions: Tensor, cache: RowCache, parts: Sequence[Part]) -> Tensor:
        """The same → the logits (rows, vocabulary) after the last token, float32."""

        def of_part(part: Part) -> Tensor:
            return self._decoder.logits(self._stream(tokens, positions, cache, part)[:, -1]).float()

        return self._run(of_part, parts)

    def _number(self, rows: int) -> int:
        """Passes for so many rows: a power of two, so that there are few numbers of threads to keep ready."""
        most = min(torch.get_num_threads(), rows // FEWEST_ROWS)
        if most < 2 or self._decoder.device.type != "cpu" or self._decoder.projections[0].d_out > WIDEST:
            return 1
        return 1 << (most.bit_length() - 1)

    def _run(self, of_part: Callable[[Part], Tensor], parts: Sequence[Part]) -> Tensor:
        number = len(parts)
        if number == 1:
            return of_part(parts[0])
        if number not in self._side_by_side:
            self._side_by_side[number] = self._threads.enter_context(Parallel(number))
        return torch.cat(list(self._side_by_side[number].map(_told_no_gradient(of_part), parts)))

    def _stream(self, tokens: Tensor, positions: Tensor, cache: RowCache, part: Part) -> Tensor:
        rows = slice(part.first, part.last)
        mask = left_padded_mask(cache.keep[rows], tokens.shape[1], self._decoder.dtype)
        with frame(part.frame):
            hidden = self._decoder.embed(tokens[rows], positions[rows])
            layers = len(self._decoder.layers)
            return self._decoder.run_layers(hidden, positions[rows], mask, 0, layers, cache.of_rows(rows))


def _told_no_gradient(of_part: Callable[[Part], Tensor]) -> Callable[[Part], Tensor]:
    """That no gradient is asked for is known to the thread that was told so alone."""
    return torch.inference_mode()(of_part)
