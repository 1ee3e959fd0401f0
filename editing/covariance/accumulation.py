"""C0: the second moment of keys over ordinary text, for several layers in one pass through the lower layers.

Mass-Editing Memory in a Transformer (arXiv 2210.07229), section 4.2; how many tokens are enough: "Efficient Knowledge
Editing via Minimal Precomputation" (2025).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Recorder, frame
from editing.model.token_sequences import TokenSequences, causal_mask, padded_batches
from editing.progress import ProgressCallback, ShouldStop, check, never, silent

TOKENS_PER_BATCH = 4096
_SAVE_SECONDS = 60.0


@dataclass
class MomentSums:
    """What is summed so far: by layer Σ k kᵀ (d_in, d_in) in float64, over `tokens` keys of the first `batches`."""

    sums: dict[int, Tensor]
    tokens: int = 0
    batches: int = 0

    def moment(self, layer: int) -> Tensor:
        """Σ k kᵀ / n at `layer`."""
        return self.sums[layer] / self.tokens


@torch.no_grad()
def key_moments(
    decoder: Decoder,
    layers: Sequence[int],
    sequences: TokenSequences,
    *,
    skip_first: int = 0,
    most_tokens: int = TOKENS_PER_BATCH,
    resume: MomentSums | None = None,
    save: Callable[[MomentSums], None] | None = None,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> MomentSums:
    """Σ k kᵀ of the untouched base model at `layers` over `sequences`; padding is left out.

    `skip_first` leaves out each sequence's first tokens, which in some models carry activations hundreds of times
    larger than all others (attention sinks). Only layers up to the last of `layers` are run. `save` is called about
    once a minute and when the work is interrupted; given back as `resume`, with the same sequences, the sum goes on
    from there.
    """
    last = max(layers)
    width = decoder.projections[last].d_in
    sums = resume or MomentSums({layer: _zeros(width, decoder) for layer in layers})
    saved = time.monotonic()
    with frame(None):
        for number, batch in enumerate(padded_batches(sequences.sequences(), most_tokens, decoder.device)):
            if number < sums.batches:
                continue
            if should_stop() and save is not None:
                save(sums)
            check(should_stop, "preparing the statistic")
            recorder = Recorder(frozenset(layers))
            with frame(recorder):
                mask = causal_mask(batch.tokens.shape[1], decoder.dtype, decoder.device)
                decoder.run_layers(decoder.embed(batch.tokens, batch.positions), batch.positions, mask, 0, last + 1)
            counted = batch.present & (batch.positions >= skip_first)
            for layer in layers:
                keys = recorder.inputs[layer][counted].double()  # (tokens, d_in)
                sums.sums[layer].addmm_(keys.T, keys)
            sums.tokens += int(counted.sum())
            sums.batches = number + 1
            on_progress("statistic", sums.tokens, sequences.tokens - skip_first * len(sequences))
            if save is not None and time.monotonic() - saved > _SAVE_SECONDS:
                save(sums)
                saved = time.monotonic()
    return sums


def _zeros(width: int, decoder: Decoder) -> Tensor:
    return torch.zeros(width, width, dtype=torch.float64, device=decoder.device)
