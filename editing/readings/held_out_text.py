"""Held-out text, read a portion at a time: as much of it as a comparison needs."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Matrices, Version, frame
from editing.model.token_sequences import TokenBatch, TokenSequences, causal_mask, padded_batches
from editing.progress import ProgressCallback, ShouldStop, check, never, silent
from editing.readings.observations import HeldOutReading
from editing.readings.perplexity import add_log_likelihoods
from editing.readings.scoring import TOKENS_PER_BATCH

PORTION_TOKENS: Final = 512
"""Tokens after which a portion ends with its text: large enough for fast products."""
_SEED: Final = 0

_Place = tuple[int, int, int]
"""The first text of what is read in one go, the one after its last, and the batch of these."""

UNREAD: Final = HeldOutReading((), ())


class HeldOutText:
    """The texts of a model in a seeded order, always the same: what one version was read on, another is too.

    What lies below a version's first edited layer is the same for all versions that leave those layers alone: the
    stream before that layer is kept within `stream_bytes`, the longest unused let go first. For one thread at a time.
    """

    def __init__(self, decoder: Decoder, texts: TokenSequences, stream_bytes: int = 0) -> None:
        self._decoder = decoder
        self._stream_bytes = stream_bytes
        sequences = texts.sequences()
        order = random.Random(_SEED).sample(range(len(sequences)), len(sequences))
        self.texts = TokenSequences.of([sequences[number].tolist() for number in order])
        self.portions = _portions(self.texts.lengths.tolist())
        self._streams: OrderedDict[tuple[int, _Place], Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def predicted(self) -> tuple[int, ...]:
        """How many tokens of each text are predicted: all but its first."""
        return tuple(max(0, length - 1) for length in self.texts.lengths.tolist())

    @property
    def identity(self) -> str:
        """Tells these texts, in this order and read with this dtype and kind of device, from any others."""
        digest = hashlib.sha256(self.texts.flat.numpy().tobytes() + self.texts.lengths.numpy().tobytes())
        digest.update(f"{self._decoder.dtype} {self._decoder.device.type}".encode())
        return digest.hexdigest()[:24]

    def read_on(
        self, matrices: Matrices, reading: HeldOutReading = UNREAD, should_stop: ShouldStop = never
    ) -> HeldOutReading:
        """`reading` of the version `matrices` with the portion after it; the same where all is read."""
        first = len(reading.tokens)
        return self.read_to(matrices, reading, next((end for end in self.portions if end > first), first), should_stop)

    def read_to(
        self,
        matrices: Matrices,
        reading: HeldOutReading,
        texts: int,
        should_stop: ShouldStop = never,
        on_progress: ProgressCallback = silent,
    ) -> HeldOutReading:
        """`reading` of the version `matrices`, gone on with until it has `texts` texts, or cut to these."""
        sums = list(reading.log_likelihoods)
        for end in self.portions:
            if (start := len(sums)) < (stop := min(end, texts)):
                sums += self._read(matrices, start, stop, should_stop)
                on_progress("perplexity", sum(self.predicted[:stop]), sum(self.predicted))
        return HeldOutReading(tuple(sums[:texts]), self.predicted[: min(len(sums), texts)])

    def read_all(
        self, matrices: Matrices, should_stop: ShouldStop = never, on_progress: ProgressCallback = silent
    ) -> HeldOutReading:
        return self.read_to(matrices, UNREAD, len(self), should_stop, on_progress)

    @torch.no_grad()
    def _read(self, matrices: Matrices, start: int, end: int, should_stop: ShouldStop) -> list[float]:
        """The log-likelihoods of texts start..end-1, each without its first token, which nothing predicts."""
        sums = torch.zeros(end - start, dtype=torch.float64)
        texts = self.texts.sequences()[start:end]
        with frame(Version(matrices)):
            for number, batch in enumerate(padded_batches(texts, TOKENS_PER_BATCH, self._decoder.device)):
                check(should_stop, "measuring perplexity")
                hidden = self._final_stream(matrices, batch, (start, end, number))
                add_log_likelihoods(self._decoder, hidden, batch, sums)
        found: list[float] = sums.tolist()
        return found

    def _final_stream(self, matrices: Matrices, batch: TokenBatch, place: _Place) -> Tensor:
        """The stream after the last layer, from the highest on that is kept and lies below the edited layers."""
        decoder, layers = self._decoder, len(self._decoder.layers)
        mask = causal_mask(batch.tokens.shape[1], decoder.dtype, decoder.device)
        lowest = min(matrices, default=layers)
        first = max((layer for layer, of in self._streams if of == place and layer <= lowest), default=0)
        hidden = decoder.embed(batch.tokens, batch.positions) if first == 0 else self._streams[first, place]
        if first:
            self._streams.move_to_end((first, place))
        if matrices and first < lowest:
            hidden, first = decoder.run_layers(hidden, batch.positions, mask, first, lowest), lowest
            self._keep((lowest, place), hidden)
        return decoder.run_layers(hidden, batch.positions, mask, first, layers)

    def _keep(self, key: tuple[int, _Place], stream: Tensor) -> None:
        self._streams[key] = stream
        while sum(kept.nbytes for kept in self._streams.values()) > self._stream_bytes:
            self._streams.popitem(last=False)


def _portions(lengths: Sequence[int]) -> list[int]:
    """After how many texts each portion ends."""
    ends, tokens = [], 0
    for number, length in enumerate(lengths, start=1):
        tokens += length
        if tokens >= PORTION_TOKENS or number == len(lengths):
            ends.append(number)
            tokens = 0
    return ends
